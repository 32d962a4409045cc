"""Generated cases: formats and their options.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import itertools

MIB = 1 << 20
DATA_FILE = "DATA"  # the name of a file beside the image
SIZES = [24 * MIB, 24 * MIB + 512 * 7]
CHECKED = {"qcow2", "vdi", "vmdk", "vhdx"}  # qemu-img has a check for them


def _qcow2():
    for version, size in itertools.product(["0.10", "1.1"], range(9, 22)):
        yield {"compat": version, "cluster_size": 1 << size}
    for bits in [1, 2, 4, 8, 32, 64]:
        yield {"refcount_bits": bits}
        for cluster in [512, 4096, 2 * MIB]:
            yield {"refcount_bits": bits, "cluster_size": cluster}
    yield {"lazy_refcounts": "on"}
    yield {"lazy_refcounts": "on", "cluster_size": 4096}
    for size in range(14, 22):
        yield {"extended_l2": "on", "cluster_size": 1 << size}
    for mode, cluster in itertools.product(["metadata", "falloc", "full"], [65536, 131072]):
        yield {"extended_l2": "on", "preallocation": mode, "cluster_size": cluster}
    for raw, cluster in itertools.product(["on", "off"], [4096, 65536, MIB]):
        yield {"data_file": DATA_FILE, "data_file_raw": raw, "cluster_size": cluster}
    yield {"data_file": DATA_FILE, "extended_l2": "on", "cluster_size": 65536}
    yield {"data_file": DATA_FILE, "preallocation": "metadata"}
    for mode in ["metadata", "falloc", "full"]:
        yield {"preallocation": mode}
    yield {"preallocation": "metadata", "cluster_size": 4096}


def _vmdk():
    kinds = ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"]
    for kind, adapter in itertools.product(kinds, ["ide", "lsilogic", "buslogic", "legacyESX"]):
        yield {"subformat": kind, "adapter_type": adapter}
    for kind in kinds:
        yield {"subformat": kind, "compat6": "on"}
        if not kind.endswith("Flat"):
            yield {"subformat": kind, "zeroed_grain": "on"}
    yield {"hwversion": "13", "toolsversion": "7"}


def _vpc():
    for kind, force in itertools.product(["dynamic", "fixed"], ["on", "off"]):
        yield {"subformat": kind, "force_size": force}


def _vhdx():
    for kind, block in itertools.product(["dynamic", "fixed"], [0, MIB, 8 * MIB, 32 * MIB]):
        yield {"subformat": kind, "block_size": block}
    yield {"block_state_zero": "off"}
    yield {"block_state_zero": "on"}
    for log, block in itertools.product([MIB, 2 * MIB, 16 * MIB], [MIB, 256 * MIB]):
        yield {"log_size": log, "block_size": block}


OPTIONS = {
    "raw": [{}, {"preallocation": "falloc"}, {"preallocation": "full"}],
    "qcow2": [{}, *_qcow2()],
    "vdi": [{}, {"static": "on"}],
    "vmdk": [{}, *_vmdk()],
    "vpc": [{}, *_vpc()],
    "vhdx": [{}, *_vhdx()],
}
COMPRESSED = [{"compression_type": kind, "cluster_size": size, "compat": "1.1"}
              for kind in ["zlib", "zstd"] for size in [512, 4096, 32768, 65536, MIB, 2 * MIB]]
COMPRESSED += [{"extended_l2": "on", "cluster_size": size} for size in [16384, 65536]]
COMPRESSED += [{"compat": "0.10", "cluster_size": size} for size in [4096, 65536]]


def text(options):
    """For -o; empty if there are none."""
    return ",".join(f"{key}={value}" for key, value in options.items())


def flags(options):
    return ["-o", text(options)] if options else []


def all_cases():
    """(name, format, options, compressed, size, sparse)."""
    for fmt, choices in OPTIONS.items():
        for options, size, sparse in itertools.product(choices, SIZES, ["4k", "0"]):
            if sparse == "0" and "cluster_size" in options:
                continue
            yield f"{fmt}-{text(options)}-{size}-S{sparse}", fmt, options, False, size, sparse
    for options, size in itertools.product(COMPRESSED, SIZES):
        yield f"qcow2-c-{text(options)}-{size}", "qcow2", options, True, size, "4k"


def quick_cases():
    """One of each format and of its main kinds."""
    wanted = [("raw", {}), ("qcow2", {}), ("qcow2", {"extended_l2": "on", "cluster_size": 65536}),
              ("vdi", {}), ("vdi", {"static": "on"}), ("vpc", {}), ("vpc", {"subformat": "fixed", "force_size": "on"}),
              ("vmdk", {"subformat": "twoGbMaxExtentSparse", "adapter_type": "ide"}),
              ("vmdk", {"subformat": "monolithicFlat", "adapter_type": "ide"}),
              ("vmdk", {"subformat": "streamOptimized", "adapter_type": "ide"}), ("vmdk", {}), ("vhdx", {})]
    for name, fmt, options, compressed, size, sparse in all_cases():
        if (fmt, options) in wanted and not compressed and size == SIZES[1] and sparse == "4k":
            yield name, fmt, options, compressed, size, sparse
        elif compressed and "compression_type" in options and options["cluster_size"] == 65536 and size == SIZES[1]:
            yield name, fmt, options, compressed, size, sparse
