"""Command lines of qemu-img made from a table: every option of every command, with good, odd and wrong values.

`COMMANDS` says which images a command is tried on; `VALUES` what its options are given. `first_cases` has each
option alone with its first value, `single_cases` with each, `pair_cases` each two options with their first values.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import itertools
import re

SECRET = "secret,id=k,data=abc"
CACHES = ["none", "writeback", "writethrough", "directsync", "unsafe", "off", "nothing", ""]
SIZES = ["1M", "0", "x", "-1", "1.5k", "16E", "1m", "1kB", "0x10000", " 64k", "512b", ""]

# The lines that are tried without further options, then with each option; the first also with each two of them.
COMMANDS = {
    "amend": ["b.qcow2", "x.luks", "a.raw"],
    "bench": ["-c 8 -s 4k b.qcow2", "-c 8 a.raw"],
    "bitmap": ["a.qcow2 bm", "a.qcow2 new", "a.raw bm", "a.qcow2"],
    "check": ["a.qcow2", "leak.qcow2", "bad.qcow2", "a.raw", "v.vmdk", "v.vdi", "v.vhdx", "v.vpc", "x.luks", "nothing"],
    "commit": ["top.qcow2", "upper.qcow2", "a.qcow2", "a.raw"],
    "compare": ["a.raw a.qcow2", "a.qcow2 top.qcow2", "a.raw b.qcow2", "b.qcow2 a.raw", "a.raw", "a.raw b.qcow2 v.vdi"],
    "convert": ["a.raw o", "top.qcow2 o", "a.qcow2 b.qcow2 o", "a.raw"],
    "create": ["o 1M", "o", "o 1M 2M", ""],
    "dd": ["if=a.raw of=o", "if=top.qcow2 of=o", "if=a.raw", "of=o", "if=a.raw of=o nothing=1", ""],
    "info": ["a.qcow2", "top.qcow2", "upper.qcow2", "a.raw", "v.vmdk", "v.vdi", "v.vhdx", "v.vpc", "v.qcow", "x.luks",
             "x.qcow2", "d.qcow2", "leak.qcow2", "bad.qcow2", "nothing", "a.raw a.raw", ""],
    "map": ["a.qcow2", "top.qcow2", "upper.qcow2", "a.raw", "v.vmdk", "v.qcow", "d.qcow2", "nothing", ""],
    "measure": ["a.qcow2", "top.qcow2", "a.raw", "", "nothing"],
    "rebase": ["-F qcow2 -b a.qcow2 upper.qcow2", "-u -F qcow2 -b a.qcow2 upper.qcow2", "upper.qcow2", "-b b.qcow2 a.raw"],
    "resize": ["b.qcow2 +1M", "a.raw 8M", "b.qcow2 -1M", "a.raw", "b.qcow2 0", "b.qcow2 x", "v.vdi +1M"],
    "snapshot": ["a.qcow2", "b.qcow2", "a.raw", "nothing", ""],
}

FLAGS = "-p -q -U -u -n -w -W -C -c -d -s -l --image-opts --target-image-opts --target-is-zero --bitmaps --salvage " \
        "--force --no-drain --shrink --backing-chain --force-share --add --remove --clear --enable --disable " \
        "--skip-broken-bitmaps"
VALUES = {option: [None] for option in FLAGS.split()}
VALUES |= {
    "-f": ["qcow2", "raw", "nothing", ""],
    "-F": ["qcow2", "raw", "nothing", ""],
    "-O": ["qcow2", "raw", "vdi", "vmdk", "vpc", "vhdx", "nothing", ""],
    "-t": CACHES,
    "-T": CACHES,
    "-b": ["a.qcow2", "a.raw", "nothing", ""],
    "-B": ["a.qcow2", "nothing"],
    "-r": ["1G", "0", "x"],
    "-m": ["1", "16", "0", "17", "x"],
    "-S": ["0", "512", "64k", "100", "17M", "x"],
    "--output": ["json", "human", "nothing", ""],
    "--object": [SECRET, "secret,id=k,data=abc,format=raw", "secret,id=k,data=YWJj,format=base64", "secret,id=k",
                 "secret,data=abc", "secret,id=k,file=nothing", "secret,id=k,file=pass", "secret,id=k,data=abc,file=pass",
                 "secret,id=1k,data=abc", "secret,id=k,data=abc,nothing=1", "secret,id=k,data=abc,format=nothing",
                 "secret,id=k,data=Y!,format=base64", "nothing,id=k", "id=k", "tls-creds-x509,id=t,endpoint=client,dir=nothing",
                 "tls-creds-anon,id=t,endpoint=client", "tls-creds-psk,id=t,endpoint=client,dir=nothing", "iothread,id=i",
                 "throttle-group,id=g,limits.iops-total=10", "authz-simple,id=z,identity=me",
                 '{"qom-type":"secret","id":"k","data":"abc"}', '{"qom-type":"secret"}', "{", ""],
    "-o": [""],
    "-l": ["s1", "1", "snapshot.name=s1", "snapshot.id=1", "snapshot.id=1,snapshot.name=s1", "snapshot.id=9", "nothing", ""],
    "-g": ["64k", "512", "256", "3k", "4G", "x"],
    "--merge": ["bm", "nothing"],
    "--start-offset": ["64k", "0", "8M", "x", "-1"],
    "--max-length": ["64k", "0", "8M", "x", "-1"],
    "--size": SIZES,
    "--preallocation": ["off", "metadata", "falloc", "full", "nothing", ""],
    "--pattern": ["17", "0", "0x11", "256", "x"],
    "--flush-interval": ["4", "0", "x"],
    "-i": ["threads", "native", "io_uring", "nothing"],
    "bs=": ["bs=512", "bs=64k", "bs=0", "bs=x", "bs=3", "bs="],
    "count=": ["count=1", "count=0", "count=x", "count=1M"],
    "skip=": ["skip=1", "skip=0", "skip=x", "skip=1M"],
    "if=": ["if=a.raw", "if=nothing"],
    "of=": ["of=o"],
}
OF_COMMAND = {
    ("amend", "-o"): ["lazy_refcounts=on", "compat=0.10", "compat=nothing", "nothing=1", "size=8M", "size=1k", "help", "",
                      "backing_file=a.raw", "backing_file=a.raw,backing_fmt=raw", "refcount_bits=8", "data_file=x",
                      "cluster_size=4k", "preallocation=full", "encrypt.state=active", "lazy_refcounts", "lazy_refcounts=x",
                      "iter-time=10", "state=active,new-secret=k", ","],
    ("bench", "-c"): ["8"],
    ("bench", "-d"): ["1", "64", "x"],
    ("bench", "-s"): ["4k"],
    ("bench", "-S"): ["64k", "0", "x"],
    ("bench", "-o"): ["64k", "0", "8M", "x", "100"],
    ("check", "-r"): ["leaks", "all", "nothing", ""],
    ("compare", "-f"): ["raw", "qcow2", "nothing"],
    ("convert", "-l"): VALUES["-l"],
    ("convert", "-c"): [None],
    ("convert", "-o"): ["size=8M", "size=1k", "nothing=1", "help", "preallocation=full", "preallocation=off", "", "cluster_size=4k"],
    ("create", "-o"): ["size=2M", "size=x", "nothing=1", "help", "preallocation=full", "preallocation=falloc", "preallocation=x",
                       "", "backing_file=a.qcow2,backing_fmt=qcow2", "encryption=on", "?"],
    ("create", "-f"): ["qcow2", "raw", "vdi", "vmdk", "vpc", "vhdx", "qcow", "qed", "luks", "nothing", ""],
    ("measure", "-o"): ["cluster_size=4k", "preallocation=full", "nothing=1", "help", "size=1M", ""],
    ("rebase", "-b"): VALUES["-b"],
    ("snapshot", "-a"): ["s1", "1", "nothing", ""],
    ("snapshot", "-c"): ["s2", "s1", "", "a b"],
    ("snapshot", "-d"): ["s1", "1", "nothing", ""],
    ("snapshot", "-l"): [None],
}
# Options that the peer's usage line leaves out.
UNTOLD = {"convert": ["--skip-broken-bitmaps"], "dd": ["--object"], "resize": ["-t"]}
# Lines that no single option makes.
MORE = """
create -f qcow2 -o cluster_size=512 o 1M
create -f qcow2 -o cluster_size=2M o 1M
create -f qcow2 -o cluster_size=4M o 1M
create -f qcow2 -o cluster_size=1000 o 1M
create -f qcow2 -o extended_l2=on o 1M
create -f qcow2 -o extended_l2=on,cluster_size=128k o 1M
create -f qcow2 -o extended_l2=on,cluster_size=8k o 1M
create -f qcow2 -o compat=v3 o 1M
create -f qcow2 -o compat=v2 o 1M
create -f qcow2 -o compat=0.10,lazy_refcounts=on o 1M
create -f qcow2 -o compat=0.10,refcount_bits=8 o 1M
create -f qcow2 -o compat=0.10,extended_l2=on o 1M
create -f qcow2 -o compression_type=zstd o 1M
create -f qcow2 -o compression_type=lz4 o 1M
create -f qcow2 -o refcount_bits=128 o 1M
create -f qcow2 -o data_file=o.data o 1M
create -f qcow2 -o data_file=o.data,data_file_raw=on o 1M
create -f qcow2 -o data_file_raw=on o 1M
create -f qcow2 -o data_file=o.data,data_file_raw=on -b a.qcow2 -F qcow2 o
create -f qcow2 -b a.qcow2 o
create -f qcow2 -b a.qcow2 -F qcow2 o
create -f qcow2 -b a.qcow2 -F qcow2 o 8M
create -f qcow2 -b a.qcow2 -F qcow2 o 64k
create -f qcow2 -b a.qcow2 -F raw o
create -f qcow2 -b nothing -F qcow2 o
create -f qcow2 -u -b nothing -F qcow2 o
create -f qcow2 -u -b nothing -F qcow2 o 1M
create -f qcow2 -u -b nothing o 1M
create -f qcow2 -b o -F qcow2 o
create -f qcow2 -b a.qcow2 -F qcow2 -o preallocation=metadata o
create -f qcow2 -b a.qcow2 -F qcow2 -o extended_l2=on,preallocation=metadata o
create -f raw -b a.raw -F raw o
create -f vmdk -b v.vmdk -F vmdk o
create -f vmdk -b a.qcow2 -F qcow2 o
create -f vmdk -o subformat=monolithicFlat o 1M
create -f vmdk -o subformat=streamOptimized o 1M
create -f vmdk -o subformat=nothing o 1M
create -f vmdk -o adapter_type=nothing o 1M
create -f vdi -o static=on o 1M
create -f vdi -o preallocation=metadata o 1M
create -f vdi -b a.raw -F raw o
create -f vpc -o subformat=fixed o 1M
create -f vpc -o subformat=nothing o 1M
create -f vpc -o force_size=on o 1M
create -f vhdx -o subformat=fixed o 1M
create -f vhdx -o block_size=3M o 1M
create -f vhdx -o log_size=3k o 1M
create -f qcow -b a.qcow2 -F qcow2 o
create -f luks o 1M
create -f luks -o key-secret=k o 1M
create --object secret,id=k,data=abc -f luks -o key-secret=k,iter-time=10 o 1M
create --object secret,id=k,data=abc -f luks -o key-secret=k,iter-time=10,cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=plain64 o 1M
create --object secret,id=k,data=abc -f luks -o key-secret=k,iter-time=10,cipher-alg=nothing o 1M
create --object secret,id=k,data=abc -f qcow2 -o encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10 o 1M
create --object secret,id=k,data=abc -f qcow2 -o encrypt.format=nothing,encrypt.key-secret=k o 1M
create --object secret,id=k,data=abc -f qcow2 -o encrypt.format=luks o 1M
create -f raw o 8E
create -f raw o 8191P
create -f qcow2 o 8191P
create -f qcow2 o 1
create -f qcow2 o 511
create -f raw o 511
create -f raw o 0
create -f qcow2 o 0
create -f raw nothing/o 1M
create -f raw a.raw 64k
create -f raw -o size=1M o 2M
create -f raw -o size=1M -o size=2M o
create o -f qcow2 1M
create -- o 1M
create -f qcow2 file:o 1M
create -f qcow2 json:{"driver":"file","filename":"o"} 1M
create -f raw fd:7:o 1M
create -f raw o 1M --nothing
create -f raw o 1.5M
create -f raw o 1,5M
create -f raw o 1e3
create -f raw o 10%
info -f qcow2 a.raw
info -f raw a.qcow2
info --image-opts driver=qcow2,file.filename=a.qcow2
info --image-opts driver=qcow2,file.driver=file,file.filename=a.qcow2
info --image-opts a.qcow2
info --image-opts file.filename=a.qcow2
info --image-opts driver=nothing,file.filename=a.qcow2
info --image-opts driver=qcow2,file.filename=nothing
info --image-opts driver=qcow2,nothing=1,file.filename=a.qcow2
info --image-opts driver=raw,offset=64k,size=64k,file.filename=a.raw
info --image-opts driver=raw,offset=1k,file.filename=a.raw
info --image-opts driver=raw,offset=8M,file.filename=a.raw
info --image-opts driver=null-co,size=1M
info --image-opts driver=qcow2,file.filename=top.qcow2,backing.driver=null-co
info --image-opts driver=qcow2,file.filename=top.qcow2,backing.driver=null-co --backing-chain
info --backing-chain --output json upper.qcow2
info --backing-chain a.raw
info --backing-chain orphan.qcow2
info --backing-chain loop.qcow2
info --output json orphan.qcow2
info --output json x.luks
info --output json x.qcow2
info json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}
info --output json json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}
info json:{"driver":"raw","file":{"driver":"file","filename":"a.raw"},"offset":512}
info json:{"driver":"qcow2"}
info json:{
info file:a.raw
info nothing:a.raw
info ./nothing:a.raw
info nbd:unix:nothing
info nbd://
info .
info /dev/null
info null-co://
map --output json upper.qcow2
map --output json d.qcow2
map --output json orphan.qcow2
map --output json -s 64k -l 64k top.qcow2
map --output json -s 1 -l 1 top.qcow2
map -l 0 top.qcow2
map --image-opts driver=luks,file.filename=x.luks
map --object secret,id=k,data=abc --image-opts driver=luks,key-secret=k,file.filename=x.luks
map --object secret,id=k,data=no --image-opts driver=luks,key-secret=k,file.filename=x.luks
map --image-opts driver=qcow2,file.filename=top.qcow2,backing.driver=null-co,backing.size=64k
map --image-opts --output json driver=raw,offset=64k,size=128k,file.filename=a.raw
check --output json leak.qcow2
check --output json bad.qcow2
check -r leaks leak.qcow2
check -r all leak.qcow2
check -r leaks bad.qcow2
check -r all bad.qcow2
check -q -r all bad.qcow2
check -r all --output json leak.qcow2
check -r all --output json bad.qcow2
check -r leaks --output json bad.qcow2
check -r all a.raw
check -r all v.vdi
check -r all v.vhdx
check --repair all leak.qcow2
check --repair=leaks leak.qcow2
check -f qcow2 a.raw
check -f raw a.qcow2
check orphan.qcow2
check --image-opts driver=qcow2,file.filename=a.qcow2
check --object secret,id=k,data=abc --image-opts driver=qcow2,encrypt.key-secret=k,file.filename=x.qcow2
commit -b a.qcow2 upper.qcow2
commit -b top.qcow2 upper.qcow2
commit -b upper.qcow2 upper.qcow2
commit -b nothing upper.qcow2
commit -d -b a.qcow2 upper.qcow2
commit -q -d upper.qcow2
commit orphan.qcow2
commit -p -q top.qcow2
commit -r 1k -q b.qcow2
commit --image-opts driver=qcow2,file.filename=top.qcow2
compare -s a.raw a.qcow2
compare -f raw -F qcow2 a.raw a.qcow2
compare -f qcow2 -F raw a.raw a.qcow2
compare --image-opts driver=raw,file.filename=a.raw driver=qcow2,file.filename=a.qcow2
compare --image-opts driver=raw,file.filename=a.raw a.qcow2
compare --image-opts -f raw driver=raw,file.filename=a.raw driver=qcow2,file.filename=a.qcow2
compare a.raw orphan.qcow2
compare --object secret,id=k,data=abc --image-opts driver=raw,file.filename=a.raw driver=luks,key-secret=k,file.filename=x.luks
compare --object secret,id=k,data=abc --image-opts driver=qcow2,encrypt.key-secret=k,file.filename=x.qcow2 driver=luks,key-secret=k,file.filename=x.luks
compare x.qcow2 a.raw
compare x.luks a.raw
convert --object secret,id=k,data=abc --image-opts driver=luks,key-secret=k,file.filename=x.luks o
convert --object secret,id=k,data=abc --image-opts driver=qcow2,encrypt.key-secret=k,file.filename=x.qcow2 o
convert --object secret,id=k,data=abc -O luks -o key-secret=k,iter-time=10 a.raw o
convert --object secret,id=k,data=abc -O qcow2 -o encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10 a.raw o
convert --object secret,id=k,data=abc -n --target-image-opts a.raw driver=luks,key-secret=k,file.filename=x.luks
convert --object secret,id=k,data=abc -n --target-image-opts a.raw driver=qcow2,encrypt.key-secret=k,file.filename=x.qcow2
convert --object secret,id=k,data=no -n --target-image-opts a.raw driver=luks,key-secret=k,file.filename=x.luks
convert -O luks a.raw o
convert -n --target-is-zero a.raw a.qcow2
convert -n --target-is-zero -O qcow2 a.raw a.qcow2
convert -n -B a.qcow2 -O qcow2 top.qcow2 upper.qcow2
convert -O qcow2 -B a.qcow2 -F qcow2 upper.qcow2 o
convert -O qcow2 -B top.qcow2 -F qcow2 upper.qcow2 o
convert -O qcow2 -o backing_file=a.qcow2,backing_fmt=qcow2 upper.qcow2 o
convert -O qcow2 -b a.qcow2 -F qcow2 upper.qcow2 o
convert -c -O qcow2 -o compression_type=zstd a.raw o
convert -c -O qcow a.raw o
convert -O qcow a.raw o
convert -O qcow2 -o data_file=o.data,data_file_raw=on a.raw o
convert -O vmdk -o subformat=monolithicFlat a.raw o
convert -O vmdk -o subformat=twoGbMaxExtentSparse a.raw o
convert -O vmdk -o subformat=twoGbMaxExtentFlat a.raw o
convert -O vpc -o subformat=fixed a.raw o
convert -O vhdx -o subformat=fixed a.raw o
convert -O vdi -o static=on a.raw o
convert -S 0 -O vdi a.raw o
convert -S 0 -O qcow2 b.qcow2 o
convert -O raw -o preallocation=falloc b.qcow2 o
convert -O raw -o preallocation=full b.qcow2 o
convert -O raw a.raw nothing/o
convert nothing o
convert a.raw
convert
convert -O raw a.raw a.raw
convert orphan.qcow2 o
convert -l s1 -O qcow2 a.qcow2 o
convert -l s1 --bitmaps -O qcow2 a.qcow2 o
convert --bitmaps -O qcow2 top.qcow2 o
convert --bitmaps -O raw a.qcow2 o
convert --bitmaps -n -O qcow2 a.qcow2 b.qcow2
convert --salvage -C a.raw o
convert --salvage -O qcow2 a.raw o
convert --image-opts driver=raw,offset=64k,size=64k,file.filename=a.raw o
convert a.raw a.raw a.raw o
dd bs=1M count=1 skip=0 if=a.raw of=o
dd bs=64k count=2 skip=3 if=a.raw of=o
dd -f raw -O qcow2 bs=64k count=2 skip=3 if=a.raw of=o
dd -O vdi bs=1M if=a.qcow2 of=o
dd bs=64k skip=1M if=a.raw of=o
dd bs=1k count=1 if=a.raw of=b.qcow2
dd bs=4G if=a.raw of=o
dd bs=2G if=a.raw of=o
dd if=nothing of=o
dd if=a.raw of=nothing/o
dd --image-opts if=driver=qcow2,file.filename=a.qcow2 of=o
dd --object secret,id=k,data=abc --image-opts if=driver=luks,key-secret=k,file.filename=x.luks of=o
measure --size 1G -O raw
measure --size 1G -O qcow2
measure --size 1G -O qcow2 --output json
measure --size 1G -O qcow2 -o extended_l2=on
measure --size 1G -O qcow2 -o cluster_size=512
measure --size 1G -O qcow2 -o preallocation=falloc
measure --size 1G -O qcow2 -o preallocation=metadata
measure --size 1G -O qcow2 -o compat=0.10
measure --size 1G -O qcow2 -o refcount_bits=64
measure --size 1G -O qcow2 -o data_file=x
measure --size 1G -O qcow2 -o lazy_refcounts=on
measure --size 1G -O vdi
measure --size 1G -O luks
measure --object secret,id=k,data=abc --size 1G -O luks -o key-secret=k
measure --object secret,id=k,data=abc --size 1G -O qcow2 -o encrypt.format=luks,encrypt.key-secret=k
measure --size 1G --image-opts
measure --size 1G -f raw
measure --size 1G a.raw
measure --size 1G -l s1
measure --size 8E
measure --size 0
measure -O qcow2 top.qcow2
measure -O qcow2 --output json upper.qcow2
measure -O qcow2 -o cluster_size=4k a.raw
measure -O qcow2 -l s1 --output json a.qcow2
measure --image-opts -O qcow2 driver=qcow2,file.filename=a.qcow2
rebase -b a.qcow2 -F qcow2 top.qcow2
rebase -b b.qcow2 -F qcow2 top.qcow2
rebase -b a.raw -F raw top.qcow2
rebase -b a.raw -F qcow2 top.qcow2
rebase -b  top.qcow2
rebase -u -b nothing -F qcow2 top.qcow2
rebase -u -b nothing top.qcow2
rebase -u top.qcow2
rebase -u -b  top.qcow2
rebase -b nothing -F qcow2 top.qcow2
rebase -u -b a.qcow2 -F qcow2 orphan.qcow2
rebase -b a.qcow2 -F qcow2 orphan.qcow2
rebase -b upper.qcow2 -F qcow2 upper.qcow2
rebase -u -b a.qcow2 -F qcow2 v.vmdk
rebase -b a.qcow2 -F qcow2 b.qcow2
rebase --image-opts -b b.qcow2 -F qcow2 driver=qcow2,file.filename=top.qcow2
resize --shrink b.qcow2 1M
resize --shrink b.qcow2 -1M
resize b.qcow2 1M
resize --shrink b.qcow2 -2M
resize --shrink b.qcow2 -4M
resize --shrink a.raw 64k
resize a.raw 64k
resize -f raw a.raw 64k --shrink
resize --preallocation metadata b.qcow2 +1M
resize --preallocation full b.qcow2 +1M
resize --preallocation falloc a.raw +1M
resize --preallocation full a.raw +1M
resize --preallocation full --shrink b.qcow2 1M
resize a.qcow2 +1M
resize --shrink a.qcow2 64k
resize v.vmdk +1M
resize v.vhdx +1M
resize v.vpc +1M
resize v.qcow +1M
resize d.qcow2 +1M
resize top.qcow2 +1M
resize -q b.qcow2 +1M
resize --image-opts driver=qcow2,file.filename=b.qcow2 +1M
resize --object secret,id=k,data=abc --image-opts driver=luks,key-secret=k,file.filename=x.luks +1M
resize +1M b.qcow2
resize b.qcow2 +1M x
resize b.qcow2 +x
resize b.qcow2 1000
resize b.qcow2 +0
resize b.qcow2 8E
resize b.qcow2 +8191P
resize a.raw 1000 --shrink
snapshot -c s1 b.qcow2
snapshot -c s1 -d s1 a.qcow2
snapshot -l -c s2 a.qcow2
snapshot -q -c s2 a.qcow2
snapshot -q -d nothing a.qcow2
snapshot -a s1 d.qcow2
snapshot -c s1 d.qcow2
snapshot -c s1 v.vmdk
snapshot -l v.vmdk
snapshot -l a.qcow2 b.qcow2
snapshot -U -l a.qcow2
snapshot --image-opts -l driver=qcow2,file.filename=a.qcow2
snapshot -f qcow2 -l a.qcow2
bitmap --add b.qcow2 new
bitmap --add -g 512 b.qcow2 new
bitmap --add -g 2G b.qcow2 new
bitmap --add --disable b.qcow2 new
bitmap --add --enable --disable b.qcow2 new
bitmap --remove a.qcow2 bm
bitmap --remove a.qcow2 nothing
bitmap --clear a.qcow2 bm
bitmap --clear a.qcow2 nothing
bitmap --disable a.qcow2 bm
bitmap --disable --clear --enable a.qcow2 bm
bitmap --add --merge bm -b a.qcow2 -F qcow2 b.qcow2 new
bitmap --add --merge nothing -b a.qcow2 -F qcow2 b.qcow2 new
bitmap --add --merge bm -b nothing -F qcow2 b.qcow2 new
bitmap --add --merge bm -b a.qcow2 b.qcow2 new
bitmap --add --merge bm a.qcow2 new
bitmap --merge bm a.qcow2 bm
bitmap --merge bm -b a.qcow2 a.qcow2 bm
bitmap --add a.qcow2 bm
bitmap --add v.vmdk new
bitmap --add a.raw new
bitmap -g 64k --clear a.qcow2 bm
bitmap -b a.qcow2 --clear a.qcow2 bm
bitmap -F qcow2 --merge bm a.qcow2 bm
bitmap -F qcow2 -b b.qcow2 --clear a.qcow2 bm
bitmap a.qcow2 bm
bitmap --add a.qcow2
bitmap --add a.qcow2 new x
bitmap --image-opts --add driver=qcow2,file.filename=b.qcow2 new
bitmap --add nothing new
bench -c 4 -w --pattern 17 b.qcow2
bench -c 4 -w --flush-interval 2 b.qcow2
bench -c 4 -w --flush-interval 2 --no-drain b.qcow2
bench -c 4 --flush-interval 2 b.qcow2
bench -c 4 -w --no-drain b.qcow2
bench -c 4 -d 1 --flush-interval 2 -w b.qcow2
bench -c 4 -w -U b.qcow2
bench -c 4 -q b.qcow2
bench -c 4 -s 8M b.qcow2
bench -c 4 -s 4k -S 1M b.qcow2
bench -c 4 -w -s 64k -o 1M --pattern 17 b.qcow2
bench -c 4 -n -t none a.raw
bench -c 4 -n a.raw
bench -c 4 -i native -t none a.raw
bench -c 4 -i io_uring a.raw
bench -c 4 nothing
bench -c 0 b.qcow2
bench -c x b.qcow2
bench -c -1 b.qcow2
bench -c 4 -s 0 b.qcow2
bench -c 4 -s x b.qcow2
bench -c 4 -s 1M b.qcow2
bench -c 4 a.raw b.qcow2
bench
bench -c 4 --image-opts driver=raw,file.filename=a.raw
bench -c 4 --pattern 17 b.qcow2
amend -f qcow2 -o help
amend -f luks -o help
amend -o help b.qcow2
amend -f nothing -o help
amend b.qcow2
amend -f qcow2 b.qcow2
amend -o lazy_refcounts=on -o compat=1.1 b.qcow2
amend -o backing_file=b.qcow2,backing_fmt=qcow2 top.qcow2
amend -o backing_file= top.qcow2
amend -o encrypt.format=luks b.qcow2
amend --object secret,id=k,data=abc --object secret,id=n,data=new --image-opts -o state=active,new-secret=n,iter-time=10 driver=luks,key-secret=k,file.filename=x.luks
amend --object secret,id=k,data=abc --image-opts -o state=inactive,old-secret=k driver=luks,key-secret=k,file.filename=x.luks
amend --object secret,id=k,data=abc --image-opts --force -o state=inactive,old-secret=k driver=luks,key-secret=k,file.filename=x.luks
amend --object secret,id=k,data=abc --image-opts -o state=inactive,keyslot=3 driver=luks,key-secret=k,file.filename=x.luks
amend --object secret,id=k,data=abc --image-opts -o encrypt.state=active,encrypt.new-secret=k,encrypt.iter-time=10 driver=qcow2,encrypt.key-secret=k,file.filename=x.qcow2
nothing
info --help
convert -h
create --hel
"""


def values(command, option):
    """What @option of @command is given; None: it is a flag."""
    return OF_COMMAND.get((command, option)) or VALUES[option]


def words(line):
    """Of a line of the tables: empty words are written as two blanks or a blank at an end."""
    return line.split(" ") if "  " in line else line.split()


def synopsis(text):
    """Of the peer's --help: its commands with all their options ("-f", "--output", "bs=")."""
    found = {}
    for command, rest in re.findall(r"^  (\w+) (\[.*|\(.*)$", text, re.MULTILINE):
        options = re.findall(r"(?<![\w-])(--?[A-Za-z][A-Za-z-]*)", rest) + UNTOLD.get(command, [])
        if command == "dd":
            options += re.findall(r"\b([a-z]+=)", rest)
        found[command] = list(dict.fromkeys(options))
    return found


def spell(option, value):
    if option.endswith("="):
        return [value]
    return [option] if value is None else [option, value]


def first_cases(command, options):
    """Each option with its first value, on the first image."""
    line = COMMANDS[command][0].split()
    yield (command, *line)
    for option in options[command]:
        yield (command, *spell(option, values(command, option)[0]), *line)


def single_cases(options):
    """@options: as synopsis() has it. Gives tuples of words."""
    for command, lines in COMMANDS.items():
        for line in lines:
            yield (command, *line.split())
        for option in options[command]:
            for value in values(command, option):
                yield (command, *spell(option, value), *lines[0].split())
            for line in lines[1:]:
                yield (command, *spell(option, values(command, option)[0]), *line.split())
    for line in MORE.strip("\n").split("\n"):
        yield tuple(words(line))


def pair_cases(options):
    for command, lines in COMMANDS.items():
        for one, other in itertools.combinations(options[command], 2):
            first, second = (spell(option, values(command, option)[0]) for option in (one, other))
            yield (command, *first, *second, *lines[0].split())
