"""Arguments of the wrong type, unknown and missing ones, for every QMP command that lodge-vmm and QEMU both have.

The cases are made from QEMU's query-qmp-schema. The replies are the same, class and words, but for what EXPLAINED says.
Takes some seconds.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import re

WRONG = {"string": 5, "int": "x", "number": "x", "boolean": 5, "enum": 5, "object": 5, "array": 5}
RIGHT = {"string": "x", "int": 1, "number": 1, "boolean": True, "null": None, "value": 1}
# Commands that take their arguments apart themselves: options of drivers and back ends.
OPEN = {"blockdev-add", "object-add", "device_add", "netdev_add", "chardev-add", "chardev-change", "blockdev-create",
        "blockdev-reopen", "display-update", "qom-set"}
EARLIER = "lodge-vmm says first that there was a greeting already"
ACTION = "lodge-vmm has no such action, and does not take the argument"
EXPLAINED = {
    "qmp_capabilities: unknown": EARLIER,
    "qmp_capabilities: wrong enable": EARLIER,
    "set-action: no value of panic": ACTION,
    "set-action: no value of watchdog": ACTION,
    "set-action: wrong panic": ACTION,
    "set-action: wrong watchdog": ACTION,
}


class Schema:
    def __init__(self, rows):
        self.rows = {row["name"]: row for row in rows}
        self.commands = {row["name"]: self.rows[row["arg-type"]] for row in rows if row["meta-type"] == "command"}

    def kind(self, name):
        row = self.rows[name]
        return row["json-type"] if row["meta-type"] == "builtin" else row["meta-type"]

    def right(self, name):
        row, kind = self.rows[name], self.kind(name)
        if kind == "enum":
            return row["values"][0] if "values" in row else row["members"][0]["name"]
        if kind == "array":
            return []
        if kind == "alternate":
            return self.right(row["members"][0]["type"])
        if kind == "object":
            return self.required(row)
        return RIGHT[kind]

    def required(self, row):
        members = {member["name"]: self.right(member["type"]) for member in row["members"] if "default" not in member}
        for variant in row.get("variants", []):
            if variant["case"] == members[row["tag"]]:
                members |= self.required(self.rows[variant["type"]])
        return members

    def cases(self, command):
        """(what, arguments) that are all wrong."""
        row = self.commands[command]
        good = self.required(row)
        yield "unknown", good | {"colour": "red"}
        for member in row["members"]:
            name, kind = member["name"], self.kind(member["type"])
            if "default" not in member:
                yield f"no {name}", {key: item for key, item in good.items() if key != name}
            if kind in WRONG:
                yield f"wrong {name}", good | {name: WRONG[kind]}
            if kind == "enum":
                yield f"no value of {name}", good | {name: "nosuch"}


def test_wrong_arguments_are_answered_as_qemu_does(machine):
    qemu, lodge = machine("qemu").qmp, machine("lodge").qmp
    schema = Schema(qemu.command("query-qmp-schema"))
    ours = {row["name"] for row in lodge.command("query-commands")}
    strange, count = {}, 0
    for command in sorted(ours & set(schema.commands) - OPEN):
        for what, arguments in schema.cases(command):
            replies = []
            for engine in (qemu, lodge):
                error = engine.raw(command, arguments).get("error", "accepted")
                # QEMU has other words where it takes unsigned numbers alone.
                replies.append(re.sub(r"Parameter ('[^']*') expects uint64", r"Invalid parameter type for \1, expected: integer",
                                      error if isinstance(error, str) else f"{error['class']}: {error['desc']}"))
            count += 1
            if replies[0] != replies[1]:
                strange[f"{command}: {what}"] = replies
    assert count > 200
    assert set(strange) == set(EXPLAINED), "\n".join(f"{row}: {both}" for row, both in strange.items() if row not in EXPLAINED)


BALLOON, POLLING = "/machine/peripheral/balloon0", "guest-stats-polling-interval"
OBJECTS = [
    *(("qom-set", {"path": BALLOON, "property": POLLING, "value": value})
      for value in ("x", None, True, 1.5, [1], -1, 1 << 32, 5)),
    ("qom-get", {"path": BALLOON, "property": POLLING}),
    *(("qom-get", {"path": path, "property": name}) for path, name in (
        ("/", "machine"), ("/", "type"), ("/", "nope"), ("/machine", "peripheral"), ("/machine/", "unattached"),
        ("/machine/unattached", "device[0]"), ("//objects", "io0"), ("objects", "type"), ("peripheral/balloon0", "type"),
        ("/machine/peripheral", "balloon0"), (BALLOON, "nope"), ("io0", "type"), ("io0", "nope"), ("", "type"),
        ("/nope", "type"), ("nope", "type"), ("/machine/peripheral/nope", "type"))),
    *(("qom-set", {"path": path, "property": name, "value": 1}) for path, name in (
        (BALLOON, "nope"), (BALLOON, "type"), ("io0", "type"), ("io0", "nope"), ("/nope", "type"))),
    *(("device-list-properties", {"typename": name}) for name in ("nope", "iothread", "device", "object")),
    ("qom-list-properties", {"typename": "nope"}),
    ("qom-list-types", {"implements": "nope"}),
    *(("object-add", {"qom-type": "iothread", "id": name}) for name in ("", "1a", "a/b", "a b", "b")),
    ("object-del", {"id": "b"}),
    ("object-del", {"id": "b"}),
    *(("netdev_add", {"type": "user", "id": name}) for name in ("1a", "a b", "a/b")),
    ("qom-list", {"path": ""}),
    ("chardev-add", {"id": "a b", "backend": {"type": "null", "data": {}}}),
    ("device_add", {"driver": "virtio-rng-pci", "id": "a/b"}),
]


def test_the_tree_of_objects_answers_as_qemu_s(machine):
    options = ("-device", "virtio-balloon-pci,id=balloon0", "-object", "iothread,id=io0")
    engines = [machine(engine, *options).qmp for engine in ("qemu", "lodge")]
    strange = {}
    for command, arguments in OBJECTS:
        replies = [{key: value for key, value in engine.raw(command, arguments).items() if key != "id"} for engine in engines]
        if replies[0] != replies[1]:
            strange[f"{command} {arguments}"] = replies
    assert not strange, "\n".join(f"{row}: {both}" for row, both in strange.items())


def test_no_object_has_the_id_of_another(machine):
    qmp = machine("lodge", "-object", "iothread,id=io0").qmp
    for kind in "iothread", "rng-builtin":
        assert "duplicate property 'io0'" in qmp.raw("object-add", {"qom-type": kind, "id": "io0"})["error"]["desc"]
    assert [row["name"] for row in qmp.command("qom-list", {"path": "/objects"})].count("io0") == 1
