"""What lodge-vmm's block commands answer otherwise than QEMU's: see test_block_differential.py.

SPDX-License-Identifier: GPL-2.0-or-later
"""

# "script: command arguments" -> why. Command and arguments are as the test says them.
_SPEED = "QEMU makes the job, refuses its speed and frees it; here it is refused before there is a job"
_FILTER = "here the job is made, and given up when its filter gets its name; QEMU looks at the name first"
BEHAVIOUR = {
    'chains: query-named-block-nodes {}':
        "the file of an image that becomes a backing file is opened read-only at once; QEMU's auto-read-only files are not",
    'commits_and_exports: block-commit {"base-node": "libvirt-1-format", "device": "n", "job-id": "j", "speed": 1, '
    '"top-node": "n"}': "QEMU makes the job, finds the export and frees it; here it is refused before there is a job",
    'job_starts: block-stream {"device": "libvirt-1-format", "job-id": "j", "speed": -1}': _SPEED,
    'job_starts: blockdev-backup {"device": "libvirt-1-format", "filter-node-name": "libvirt-1-format", "job-id": "j", '
    '"sync": "full", "target": "t"}': _FILTER,
    'job_starts: blockdev-backup {"device": "libvirt-1-format", "job-id": "j", "speed": -1, "sync": "full", '
    '"target": "t"}': _SPEED,
    'job_starts: blockdev-mirror {"device": "libvirt-1-format", "filter-node-name": "libvirt-1-format", "job-id": "j", '
    '"sync": "full", "target": "t"}': _FILTER,
    'job_starts: blockdev-mirror {"device": "libvirt-1-format", "job-id": "j", "speed": -1, "sync": "full", '
    '"target": "t"}': _SPEED,
    'limits: block_set_io_throttle {"bps": 0, "bps_rd": 0, "bps_wr": 0, "id": "virtio-disk0", "iops": 0, "iops_rd": 0, '
    '"iops_wr": 0}': "QEMU wants the path of the device's inner half; its id is enough here",
    'snapshots: blockdev-snapshot {"node": "libvirt-1-storage", "overlay": "n"}':
        "an overlay between a format and its file would hide the image from its own format",
    'throttle_nodes: query-named-block-nodes {}':
        "QEMU shows what is below a filter as its backing file, and the options as file name",
    'throttle_nodes: query-named-block-nodes {"flat": true}': "the same",
    'thresholds: block-set-write-threshold {"node-name": "libvirt-1-storage", "write-threshold": -1}':
        "QEMU takes it for 2^64 - 1",
    'thresholds: query-named-block-nodes {"flat": true}': "that threshold",
}

# Errors of QEMU's class in words of ours: they name what was meant, and often the way out. Up to the first "; ".
WORDS = {
    "'libvirt-1-format': not allowing backing file change on an image without a backing file",
    "'n' is not in this backing file chain",
    "-object throttle-group: 'colour' is not supported",
    "-object throttle-group: 'limits' is not supported",
    "-object throttle-group: 'limits.colour' is not supported",
    "-object throttle-group: a burst rate (bps_max, iops_max) needs the limit itself (bps, iops)",
    "-object throttle-group: a total limit (bps, iops) cannot be given beside one for reads or writes",
    "-object throttle-group: property 'limits.iops-total' cannot be '-1'",
    "-object throttle-group: the burst length (max-length) cannot be 0",
    "A block device must be specified for \"file\"",
    "An explicit job ID is required for this node",
    "Bitmap name too long",
    "Bitmap sync mode must be given when using sync mode 'bitmap'",
    "Block device libvirt-1-format is in use by block device 'virtio-disk0'",
    "Block device libvirt-1-storage is in use by node 'libvirt-1-format' as its 'file'",
    "Block device o2 is in use by node 'o3' as its 'backing'",
    "Can't find 'x' in the backing chain",
    "Cannot change the option 'file' of 'n' from 'nf' to 'libvirt-1-storage'",
    "Cannot change the option 'filename' of 'nf'",
    "Cannot find device='' nor node-name='nope'",
    "Cannot find device='nope' nor node-name='nope'",
    "Could not open 'DIR/two.qcow2': Invalid detect-zeroes option 'x'",
    "Could not open 'DIR/two.qcow2': LUKS header: there is none",
    "Could not open 'DIR/two.qcow2': Parameter 'throttle-group' is missing: the id of an object of that type",
    "Could not open 'DIR/two.qcow2': Throttle group 'nogroup' does not exist",
    "Could not open 'DIR/two.qcow2': Bottom node 'zz' not found",
    "Could not open 'DIR/two.qcow2': invalid VMDK image descriptor",
    "Could not open 'DIR/two.qcow2': qcow2: the image is not encrypted, and encrypt.format=luks was given",
    "Could not open 'DIR/two.qcow2': raw: offset and size lie outside 'DIR/two.qcow2'",
    "Could not open 'DIR/two.qcow2': raw: the size of a part is no multiple of 512 bytes",
    "Could not open 'DIR/two.qcow2': setting detect-zeroes to unmap is not allowed without setting "
    "discard operation to unmap",
    "Could not open 'nbd+unix://?socket=DIR/nosock': Failed to connect to 'DIR/nosock': No such file or directory",
    "Could not open 'nbd://127.0.0.1:1': Failed to connect to '127.0.0.1:1': Connection refused",
    "Duplicate nodes with node-name='libvirt-1-format'",
    "Failed to bind socket to 'DIR/no/such': No such file or directory",
    "Invalid discard option 'x'",
    "Invalid node-name: 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'",
    "Invalid parameter 'backing_file' for format 'raw'",
    "Invalid parameter type for 'actions', expected: object",
    "Invalid parameter type for 'bitmaps', expected: BlockDirtyBitmapOrStr",
    "Invalid parameter type for 'write-threshold', expected: integer",
    "Job ID 'j' already in use",
    "Node 'libvirt-1-storage' cannot be resized: it is the file of 'libvirt-1-format'",
    "Node 'm' is busy: block device is in use by block job: commit",
    "Node 'nf' cannot be resized: it is the file of 'n'",
    "Parameter 'buf-size' expects a non-negative value",
    "Parameter 'cache.direct' expects 'on' or 'off', not 'x'",
    "Parameter 'colour' is unexpected: the driver 'qcow2' of the node 'n' does not have it",
    "Parameter 'colour' is unexpected: the driver 'throttle' of the node 'th' does not have it",
    "Parameter 'data' is missing",
    "Parameter 'granularity' expects a power of 2 in range [512B, 64MB]",
    "Parameter 'read-only' expects 'on' or 'off', not 'x'",
    "Parameter 'speed' expects a non-negative value",
    "Parameter 'throttle-group' is missing",
    "Permission conflict on node 'libvirt-1-format': permissions 'write' are needed by the export 'libvirt-1-format' (which "
    "has it as its 'root') and not shared by block device 'virtio-disk0' (which has it as its 'root')",
    "Permission conflict on node 'libvirt-1-storage': permissions 'write, resize' are needed by node 'libvirt-1-format' (which "
    "has it as its 'file') and not shared by node 'n' (which has it as its 'file')",
    "Source and target image have different sizes",
    "The 'file' driver needs 'filename'",
    "The overlay 'libvirt-1-format' is already in use",
    "The overlay 'nf' does not support backing images",
    "Unknown driver 'nope'",
    "Unknown file format 'nope'",
    "a burst length (max-length) needs a burst rate (max)",
    "a burst rate (bps_max, iops_max) cannot be lower than the limit (bps, iops)",
    "a burst rate (bps_max, iops_max) needs the limit itself (bps, iops)",
    "a node ('n') and its file name ('x') cannot be specified at the same time",
    "a node ('y') and its file name ('x') cannot be specified at the same time",
    "a total limit (bps, iops) cannot be given beside one for reads or writes",
    "drive 'libvirt-1-format': Failed to resize 'DIR/base.qcow2': File too large",
    "either 'device' or 'node-name' is needed",
    "image 'DIR/base.qcow2' is in use by process N, which allows no others to write to it",
    "iops_size needs a limit of operations (iops, iops_rd, iops_wr)",
    "node-name not specified",
    "object 'g' is in use",
    "sync mode 'full' does not take a bitmap",
    "the burst length (max-length) cannot be 0",
    "the size of a disk must be a multiple of 512 bytes",
    "there are no TLS credentials 'x'",
    "top and base are the same node 'libvirt-1-format'",
    "top and base are the same node 'n'",
}
