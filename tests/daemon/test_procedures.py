"""Every procedure of the table: carried out, or refused as not supported with a reason, before and after a guest runs.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re

import pytest
import rpc

from conftest import BUILD, TOP
from guestxml import boot_files, guest_xml
from patience import PATIENCE

NO_SUPPORT, RPC = 3, 39
PHRASE = "this function is not supported by the connection driver"
# Libvirt 9.0's daemon for QEMU does not have these either.
NOT_LIBVIRTS = {"DOMAIN_CREATE_WITH_FILES", "DOMAIN_CREATE_XML_WITH_FILES", "DOMAIN_SEND_PROCESS_SIGNAL", "DOMAIN_ATTACH",
                "DOMAIN_SET_AUTOSTART_ONCE", "DOMAIN_SET_THROTTLE_GROUP", "DOMAIN_DEL_THROTTLE_GROUP"}
# Groups that belong to later work, or need what neither engine here has.
LATER = (
    "CONNECT_DOMAIN_EVENT_(DE)?REGISTER(_ANY)?$|CONNECT_(FIND|GET|LIST_ALL)_STORAGE|"
    "(INTERFACE|NETWORK|NODE_DEVICE|NWFILTER|SECRET|STORAGE)_|NODE_GET_SEV_INFO$|"
    "DOMAIN_(BACKUP|BLOCK_(COMMIT|COPY|JOB|PULL|REBASE)|CHECKPOINT|CORE_DUMP|GET_BLOCK_JOB|MANAGED_SAVE|MIGRATE|RESTORE|"
    "REVERT_TO_SNAPSHOT|SAVE|SNAPSHOT)|DOMAIN_(GET|SET)_LAUNCH_SECURITY|"
    "(SERVER|CONNECT)_([GS]ET_(THREADPOOL|LOGGING|DAEMON_TIMEOUT)|UPDATE_TLS)")


def callable_procedures(*programs):
    return [p for p in rpc.Protocol().procedures if "E" not in p.flags and p.program in programs]


def handlers():
    """Names in the daemon's tables."""
    found = set()
    for folder, _, files in os.walk(os.path.join(TOP, "src", "daemon")):
        for name in files:
            with open(os.path.join(folder, name), encoding="utf-8") as source:
                text = source.read()
            found |= {n.upper() for n in re.findall(r"HANDLER(?:_INLINE)?\((\w+)\)", text)}
            found |= set(re.findall(r"(?:NONE|NOT_FOUND)\((\w+)\)", text))
    return found


def has_handler(procedure, names):
    prefix = "" if procedure.program == "remote" else procedure.program.upper() + "_"
    return prefix + procedure.name in names


def test_what_has_no_handler_is_known_to_be_later():
    names = handlers()
    missing = [p.name for p in callable_procedures("remote", "qemu", "admin")
               if not has_handler(p, names) and p.name not in NOT_LIBVIRTS and not re.match(LATER, p.name)]
    assert not missing


@pytest.fixture(scope="module")
def subject(lodged):
    """A running guest as calls name it."""
    xml = guest_xml("subject", boot_files(BUILD))
    with lodged.client().open() as client:
        yield client.call("DOMAIN_CREATE_XML", xml_desc=xml, flags=1)["dom"]
        domains = client.call("CONNECT_LIST_ALL_DOMAINS", need_results=1)["domains"]
        for domain in domains:
            if client.call("DOMAIN_IS_ACTIVE", dom=domain)["active"]:
                client.call("DOMAIN_DESTROY", dom=domain)


ENDS = {"CONNECT_OPEN", "CONNECT_CLOSE", "CLIENT_CLOSE"}
# Of the running guest: they end or stop it, which others would then meet.
STOPS = {"DOMAIN_DESTROY", "DOMAIN_DESTROY_FLAGS", "DOMAIN_SHUTDOWN", "DOMAIN_SHUTDOWN_FLAGS", "DOMAIN_REBOOT", "DOMAIN_RESET"}


@pytest.mark.parametrize("with_guest", [False, True], ids=["nothing", "guest"])
def test_each_procedure_is_carried_out_or_refused_with_a_reason(lodged, subject, with_guest):
    names = handlers()
    odd = []
    for procedure in callable_procedures("remote", "qemu"):
        if procedure.name in ENDS or (with_guest and procedure.name in STOPS):
            continue
        values = {"dom": subject} if with_guest and "dom:D" in procedure.args.split() else {}
        # A connection of its own: streams that one opened are in nobody's way.
        with lodged.client().open() as client:
            client.sock.settimeout(60 * PATIENCE)
            try:
                client.call(procedure.name, procedure.program, **values)
                refused = None
            except rpc.RpcError as error:
                refused = error
            except (OSError, ConnectionError) as error:
                odd.append((procedure.name, f"no answer: {error!r}"))
                continue
        if refused and (refused.code == RPC or not refused.message or not refused.message.strip()):
            odd.append((procedure.name, str(refused)))
        elif has_handler(procedure, names):
            if refused and refused.code == NO_SUPPORT and re.match(PHRASE + ": '", refused.message):
                odd.append((procedure.name, "has a handler: " + refused.message))
        elif not refused or refused.code != NO_SUPPORT or re.match(PHRASE + r": '[^']+'$", refused.message):
            odd.append((procedure.name, str(refused)))
    assert not odd


def test_the_admin_socket_likewise(lodged):
    names = handlers()
    odd = []
    for procedure in callable_procedures("admin"):
        if procedure.name in ENDS:
            continue
        with lodged.client("-admin") as client:
            client.call("CONNECT_OPEN", "admin")
            try:
                client.call(procedure.name, "admin")
            except rpc.RpcError as error:
                if error.code == RPC or (not has_handler(procedure, names) and error.code != NO_SUPPORT):
                    odd.append((procedure.name, str(error)))
    assert not odd
