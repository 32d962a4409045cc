#!/usr/bin/env python3
"""Makes the C tables of src/conf/cpu from src/schema/x86-cpu.tsv: gen-cpu.py TABLE OUTPUT.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import sys

WORDS = 4


def parse(path):
    features, models = [], []
    with open(path, encoding="utf-8") as table:
        for number, line in enumerate(table, 1):
            if line.startswith("#") or not line.strip():
                continue
            row = line.rstrip("\n").split("\t")
            if row[0] == "feature" and len(row) == 8:
                features.append(row[1:])
            elif row[0] == "model" and len(row) == 7:
                models.append(row[1:])
            else:
                sys.exit(f"{path}:{number}: neither a feature (8 columns) nor a model (7)")
    if len(features) > WORDS * 64:
        sys.exit(f"{path}: more than {WORDS * 64} features; raise WORDS here and in x86.h")
    return features, models


def feature_row(row):
    name, kind, leaf, subleaf, register, bit, others = row
    source = "X86_MSR" if kind == "msr" else f"X86_{register.upper()}"
    aliases = "NULL" if others == "-" else f'"{others}"'
    return f'    {{ "{name}", {aliases}, {source}, {leaf}u, {subleaf}u, {bit}u }},'


def model_row(row, numbers, path):
    name, vendor, family, model, stepping, words = row
    bits = [0] * WORDS
    for word in words.split():
        if word not in numbers:
            sys.exit(f"{path}: model {name} has the unknown feature {word}")
        bits[numbers[word] // 64] |= 1 << numbers[word] % 64
    vendor = "NULL" if vendor == "-" else f'"{vendor}"'
    mask = ", ".join(f"{word:#x}u" for word in bits)
    return f'    {{ "{name}", {vendor}, {family}u, {model}u, {stepping}u, {{ {{ {mask} }} }} }},'


def main(path, output):
    features, models = parse(path)
    numbers = {row[0]: i for i, row in enumerate(features)}
    lines = ["/* Made by scripts/gen-cpu.py; edit src/schema/x86-cpu.tsv. */",
             '#include "conf/cpu/x86.h"', "", "const X86Feature x86_features[] = {"]
    lines += [feature_row(row) for row in features]
    lines += ["};", f"const unsigned x86_n_features = {len(features)};", "",
              "const X86Model x86_models[] = {"]
    lines += [model_row(row, numbers, path) for row in models]
    lines += ["};", f"const unsigned x86_n_models = {len(models)};", ""]
    with open(output, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))


main(*sys.argv[1:])
