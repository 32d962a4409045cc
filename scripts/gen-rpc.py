#!/usr/bin/env python3
"""Makes C from src/schema/remote.tsv: structs, codec descriptions, procedure tables, prototypes.

Usage: gen-rpc.py TABLE KIND OUTPUT      KIND: header, source, handlers, client
A procedure without an access column, a limit or a known type ends the build.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import re
import sys

SCALARS = {  # short name: (C type, XdrKind, bytes on the wire)
    "i": ("int32_t", "XDR_INT", 4), "u": ("uint32_t", "XDR_UINT", 4),
    "h": ("int64_t", "XDR_HYPER", 8), "uh": ("uint64_t", "XDR_UHYPER", 8),
    "d": ("double", "XDR_DOUBLE", 8), "c": ("char", "XDR_CHAR", 4),
    "uc": ("uint8_t", "XDR_UCHAR", 4), "us": ("uint16_t", "XDR_USHORT", 4),
    "uuid": ("Uuid", "XDR_UUID", 16), "s": ("const char *", "XDR_STRING", 4),
    "T": ("TypedParam", "XDR_TYPED_PARAM", 12),
}
PROGRAMS = {"remote": "REMOTE", "qemu": "QEMU", "admin": "ADMIN", "keepalive": "KEEPALIVE"}
FLAGS = {"H": "RPC_PRIORITY", "R": "RPC_STREAM_TO_CLIENT", "W": "RPC_STREAM_TO_SERVER",
         "c": "RPC_FDS_IN_CALL", "r": "RPC_FDS_IN_REPLY", "E": "RPC_EVENT"}
EVENT_OBJECTS = {"domain": "DOMAIN", "network": "NETWORK", "storage-pool": "STORAGE_POOL",
                 "node-device": "NODE_DEVICE", "secret": "SECRET", "connect": "CONNECT",
                 "qemu-monitor": "QEMU_MONITOR", "keepalive": "NONE"}


def fail(message):
    sys.exit(f"gen-rpc.py: {message}")


def snake(name):
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def camel(name):
    return "".join(part.capitalize() for part in name.lower().split("_"))


class Struct:
    def __init__(self, c_name, members):
        self.c_name = c_name
        self.members = members
        self.symbol = "type_" + re.sub(r"(?<!^)([A-Z])", r"_\1", c_name).lower()


class Member:
    """One name:type of a shape."""

    def __init__(self, text, where):
        match = re.fullmatch(r"(\w+):(@?\w+)(\?|\[=?\d+\])?", text)
        if not match:
            fail(f"{where}: cannot read '{text}'")
        self.wire_name, self.type, suffix = match.groups()
        self.name = snake(self.wire_name)
        self.optional = suffix == "?"
        self.fixed = bool(suffix) and suffix.startswith("[=")
        self.array = bool(suffix) and not self.optional and not self.fixed
        self.max = int(re.sub(r"\D", "", suffix)) if suffix and not self.optional else 0
        if self.type == "bytes" and not self.array:
            fail(f"{where}: '{text}' has no limit")


class Table:
    def __init__(self, path):
        self.structs = []      # in order of use
        self.by_name = {}      # short and full names, "@EVENT"
        self.procedures = {p: [] for p in PROGRAMS}
        with open(path, encoding="utf-8") as source:
            rows = [line.rstrip("\n").split("\t") for line in source
                    if line.strip() and not line.startswith("#")]
        for row in rows:
            if len(row) != 7:
                fail(f"{row[:3]}: {len(row)} columns instead of 7")
            if row[0] == "struct":
                self.add_struct(row)
            else:
                self.add_procedure(row)

    def members(self, shape, where):
        return [Member(text, where) for text in shape.split()] if shape != "-" else []

    def add_struct(self, row):
        struct = Struct("Remote" + camel(row[2]), self.members(row[4], row[2]))
        self.structs.append(struct)
        self.by_name[row[2]] = struct
        if row[3] != "-":
            self.by_name[row[3]] = struct

    def add_procedure(self, row):
        program, number, name, flags, args, ret, access = row
        if program not in PROGRAMS:
            fail(f"{name}: no program '{program}'")
        prefix = program.capitalize() + camel(name)
        event = "E" in flags
        entry = {"number": int(number), "name": name, "flags": [], "args": None, "ret": None,
                 "program": program}
        for letter in flags.replace("-", ""):
            if letter not in FLAGS:
                fail(f"{name}: no flag '{letter}'")
            entry["flags"].append(FLAGS[letter])
        for key, shape, suffix in (("args", args, "Msg" if event else "Args"), ("ret", ret, "Ret")):
            if shape != "-":
                entry[key] = Struct(prefix + suffix, self.members(shape, name))
                self.structs.append(entry[key])
        if event and entry["args"]:
            self.by_name["@" + name] = entry["args"]
        self.read_access(entry, access, event)
        self.procedures[program].append(entry)

    def read_access(self, entry, access, event):
        name = entry["name"]
        entry.update(event_object="NONE", event_id=-1, permission=None, condition=None)
        if event:
            obj, _, number = access.partition("=")
            if obj not in EVENT_OBJECTS:
                fail(f"{name}: no event object '{obj}'")
            entry["access"] = "EVENT"
            if number != "legacy":
                entry["event_object"], entry["event_id"] = EVENT_OBJECTS[obj], int(number)
            return
        if access == "open":
            entry["access"] = "OPEN"
            return
        match = re.fullmatch(r"(read|write) ([a-z.-]+)(?: (\w+)([&=])(\d+) ([a-z.-]+))?", access)
        if not match:
            fail(f"{name}: no access annotation that can be read: '{access}'")
        kind, permission, field, op, value, stronger = match.groups()
        entry["access"], entry["permission"] = kind.upper(), permission
        if field:
            entry["condition"] = (stronger, field, op, int(value))

    def find(self, type_name, where):
        if type_name not in self.by_name:
            fail(f"{where}: no type '{type_name}'")
        return self.by_name[type_name]

    def ordered(self):
        """The structs so that each comes after those it holds."""
        done, out = set(), []

        def visit(struct, depth):
            if depth > 6:
                fail(f"{struct.c_name}: nested too deeply")
            if struct.c_name in done:
                return
            for member in struct.members:
                if member.type not in SCALARS and member.type != "bytes":
                    visit(self.find(member.type, struct.c_name), depth + 1)
            done.add(struct.c_name)
            out.append(struct)

        for struct in self.structs:
            visit(struct, 0)
        return out

    def min_wire(self, struct):
        total = 0
        for member in struct.members:
            if member.optional or member.array:
                total += 4
                continue
            size = (SCALARS[member.type][2] if member.type in SCALARS
                    else self.min_wire(self.find(member.type, struct.c_name)))
            total += size * (member.max if member.fixed else 1)
        return total


def spaced(c_type):
    return c_type if c_type.endswith("*") else c_type + " "


def member_lines(table, struct):
    for m in struct.members:
        if m.type == "bytes":
            yield f"    uint8_t *{m.name};"
            yield f"    uint32_t n_{m.name};"
            continue
        c_type = (SCALARS[m.type][0] if m.type in SCALARS
                  else table.find(m.type, struct.c_name).c_name)
        if m.array:
            yield f"    {spaced(c_type)}*{m.name};"
            yield f"    uint32_t n_{m.name};"
        elif m.fixed:
            yield f"    {spaced(c_type)}{m.name}[{m.max}];"
        elif m.optional and m.type == "s":
            yield f"    const char *{m.name}; /* may be NULL */"
        elif m.optional:
            yield f"    {spaced(c_type)}*{m.name}; /* may be NULL */"
        else:
            yield f"    {spaced(c_type)}{m.name};"


def header(table):
    yield "#ifndef LODGE_SCHEMA_REMOTE_H"
    yield "#define LODGE_SCHEMA_REMOTE_H"
    yield '#include "gbase/uuid.h"'
    yield '#include "rpc/wire/procedure.h"'
    for program, upper in PROGRAMS.items():
        yield f"\nenum {{"
        for entry in table.procedures[program]:
            yield f"    {upper}_PROC_{entry['name']} = {entry['number']},"
        yield "};"
        yield f"extern const RpcProgram {program}_program;"
    for struct in table.ordered():
        yield f"\ntypedef struct {struct.c_name} {{"
        yield from member_lines(table, struct)
        yield f"}} {struct.c_name};"
        yield f"extern const XdrStruct {struct.symbol};"
    yield "\n#endif"


def field_row(table, struct, m):
    offset = f"offsetof({struct.c_name}, {m.name})"
    count = f"offsetof({struct.c_name}, n_{m.name})" if m.array else "0"
    shape = ("XDR_ARRAY" if m.array else "XDR_FIXED" if m.fixed
             else "XDR_OPTIONAL" if m.optional else "XDR_ONE")
    kind, sub = "XDR_STRUCT", "NULL"
    if m.type == "bytes":
        kind, shape = "XDR_BYTES", "XDR_ONE"
    elif m.type in SCALARS:
        kind = SCALARS[m.type][1]
    else:
        sub = "&" + table.find(m.type, struct.c_name).symbol
    limit = m.max or ("XDR_STRING_MAX" if m.type == "s" else 0)
    return f'    {{"{m.wire_name}", {kind}, {shape}, {limit}, {offset}, {count}, {sub}}},'


def source(table):
    yield '#include "schema/remote.h"'
    yield "\n#include <stddef.h>"
    for struct in table.ordered():
        fields = "NULL"
        if struct.members:
            fields = "fields_" + struct.symbol
            yield f"\nstatic const XdrField {fields}[] = {{"
            for member in struct.members:
                yield field_row(table, struct, member)
            yield "};"
        yield (f'const XdrStruct {struct.symbol} = {{"{struct.c_name}", sizeof({struct.c_name}), '
               f"{table.min_wire(struct)}, {len(struct.members)}, {fields}}};")
    for program in PROGRAMS:
        yield from program_table(table, program)


def program_table(table, program):
    entries = {e["number"]: e for e in table.procedures[program]}
    for entry in entries.values():
        if entry["condition"]:
            permission, field, op, value = entry["condition"]
            mask, value = (value, 0) if op == "&" else (0, value)
            yield (f"static const RpcAccessCondition condition_{entry['name'].lower()} = "
                   f'{{"{permission}", offsetof({entry["args"].c_name}, {snake(field)}), '
                   f"{mask}u, {value}u}};")
    yield f"\nstatic const RpcProcedure {program}_procedures[] = {{"
    for number in range(1, max(entries) + 1):
        entry = entries.get(number)
        if not entry:
            yield "    {0},"
            continue
        args = "&" + entry["args"].symbol if entry["args"] else "NULL"
        ret = "&" + entry["ret"].symbol if entry["ret"] else "NULL"
        permission = f'"{entry["permission"]}"' if entry["permission"] else "NULL"
        condition = f"&condition_{entry['name'].lower()}" if entry["condition"] else "NULL"
        yield (f'    {{{number}, "{entry["name"]}", {" | ".join(entry["flags"]) or 0}, {args}, '
               f"{ret}, RPC_ACCESS_{entry['access']}, {permission}, {condition}, "
               f"RPC_EVENT_{entry['event_object']}, {entry['event_id']}}},")
    yield "};"
    yield (f"const RpcProgram {program}_program = {{RPC_PROGRAM_{PROGRAMS[program]}, 1, "
           f'"{program}", {program}_procedures, {max(entries)}}};')


def handlers(table):
    yield "#ifndef LODGE_SCHEMA_REMOTE_HANDLERS_H"
    yield "#define LODGE_SCHEMA_REMOTE_HANDLERS_H"
    yield '#include "schema/remote.h"'
    yield "\ntypedef struct DaemonCall DaemonCall;"
    for program in ("remote", "qemu", "admin"):
        for entry in table.procedures[program]:
            if "RPC_EVENT" in entry["flags"]:
                continue
            name = entry["name"].lower()
            name = name if program == "remote" else f"{program}_{name}"
            params, passed = "DaemonCall *call", "call"
            if entry["args"]:
                params += f", const {entry['args'].c_name} *args"
                passed += ", args"
            if entry["ret"]:
                params += f", {entry['ret'].c_name} *ret"
                passed += ", ret"
            yield f"\nbool handle_{name}({params}, GError **error);"
            yield (f"static inline bool dispatch_{name}(DaemonCall *call, const void *args, "
                   "void *ret, GError **error)")
            yield f"{{\n    (void)args;\n    (void)ret;\n    return handle_{name}({passed}, error);\n}}"
            yield (f"#define HANDLER_ENTRY_{name} RPC_PROGRAM_{PROGRAMS[program]}, "
                   f"{PROGRAMS[program]}_PROC_{entry['name']}, dispatch_{name}")
    yield "\n#endif"


def client(table):
    yield "#ifndef LODGE_SCHEMA_REMOTE_CLIENT_H"
    yield "#define LODGE_SCHEMA_REMOTE_CLIENT_H"
    yield '#include "schema/remote.h"'
    yield "\ntypedef struct RpcClient RpcClient;"
    yield "/* Results belong to @arena. False: @error. */"
    yield "bool rpc_client_call(RpcClient *client, const RpcProgram *program, uint32_t procedure,"
    yield "                     const void *args, Arena *arena, void *ret, GError **error);"
    for program in ("remote", "qemu", "admin"):
        for entry in table.procedures[program]:
            if "RPC_EVENT" in entry["flags"]:
                continue
            params = "RpcClient *client"
            params += f", const {entry['args'].c_name} *args" if entry["args"] else ""
            params += f", Arena *arena, {entry['ret'].c_name} *ret" if entry["ret"] else ""
            yield f"\nstatic inline bool {program}_{entry['name'].lower()}({params}, GError **error)"
            yield (f"{{\n    return rpc_client_call(client, &{program}_program, "
                   f"{PROGRAMS[program]}_PROC_{entry['name']}, "
                   f"{'args' if entry['args'] else 'NULL'}, {'arena, ret' if entry['ret'] else 'NULL, NULL'}, "
                   "error);\n}")
    yield "\n#endif"


def main():
    if len(sys.argv) != 4:
        fail("usage: gen-rpc.py TABLE KIND OUTPUT")
    table = Table(sys.argv[1])
    kinds = {"header": header, "source": source, "handlers": handlers,
             "client": client}
    with open(sys.argv[3], "w", encoding="utf-8") as out:
        out.write("/* Made by scripts/gen-rpc.py from src/schema/remote.tsv. */\n")
        for line in kinds[sys.argv[2]](table):
            out.write(line + "\n")


main()
