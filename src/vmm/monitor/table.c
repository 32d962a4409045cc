/* The tables of QMP: commands, types and events, sorted by name.
 *
 * Names, members and types are those of QEMU's QMP. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/monitor/internal.h"

const QmpCommand qmp_commands[] = {
    { "add-fd", "?fdset-id:int,?opaque:str", "AddfdInfo", qmp_run_add_fd },
    { "balloon", "value:int", "", qmp_run_balloon },
    { "block-commit",
      "?job-id:str,device:str,?base-node:str,?base:str,?top-node:str,?top:str,"
      "?backing-file:str,?speed:int,?on-error:BlockdevOnError,?filter-node-name:str,"
      "?auto-finalize:bool,?auto-dismiss:bool",
      "", qmp_run_block_commit },
    { "block-dirty-bitmap-add",
      "node:str,name:str,?granularity:int,?persistent:bool,?disabled:bool", "",
      qmp_run_bitmap_add },
    { "block-dirty-bitmap-clear", "node:str,name:str", "", qmp_run_bitmap_clear },
    { "block-dirty-bitmap-disable", "node:str,name:str", "", qmp_run_bitmap_disable },
    { "block-dirty-bitmap-enable", "node:str,name:str", "", qmp_run_bitmap_enable },
    { "block-dirty-bitmap-merge", "node:str,target:str,bitmaps:[any]", "", qmp_run_bitmap_merge },
    { "block-dirty-bitmap-remove", "node:str,name:str", "", qmp_run_bitmap_remove },
    { "block-export-add",
      "type:BlockExportType,id:str,node-name:str,?writable:bool,?writethrough:bool,"
      "?fixed-iothread:bool,?iothread:str,?name:str,?description:str,?bitmaps:[any],"
      "?allocation-depth:bool",
      "", qmp_run_block_export_add },
    { "block-export-del", "id:str,?mode:BlockExportRemoveMode", "", qmp_run_block_export_del },
    { "block-job-cancel", "device:str,?force:bool", "", qmp_run_block_job_cancel },
    { "block-job-complete", "device:str", "", qmp_run_block_job_complete },
    { "block-job-dismiss", "id:str", "", qmp_run_block_job_dismiss },
    { "block-job-finalize", "id:str", "", qmp_run_block_job_finalize },
    { "block-job-pause", "device:str", "", qmp_run_block_job_pause },
    { "block-job-resume", "device:str", "", qmp_run_block_job_resume },
    { "block-job-set-speed", "device:str,speed:int", "", qmp_run_block_job_set_speed },
    { "block-stream",
      "?job-id:str,device:str,?base:str,?base-node:str,?backing-file:str,?bottom:str,"
      "?speed:int,?on-error:BlockdevOnError,?filter-node-name:str,?auto-finalize:bool,"
      "?auto-dismiss:bool",
      "", qmp_run_block_stream },
    { "block_resize", "?device:str,?node-name:str,size:int", "", qmp_run_block_resize },
    { "block_set_io_throttle",
      "?device:str,?id:str,bps:int,bps_rd:int,bps_wr:int,iops:int,iops_rd:int,"
      "iops_wr:int,?bps_max:int,?bps_max_length:int,?bps_rd_max:int,"
      "?bps_rd_max_length:int,?bps_wr_max:int,?bps_wr_max_length:int,"
      "?iops_max:int,?iops_max_length:int,?iops_rd_max:int,"
      "?iops_rd_max_length:int,?iops_wr_max:int,?iops_wr_max_length:int,"
      "?iops_size:int,?group:str",
      "", qmp_run_block_set_io_throttle },
    { "blockdev-add", "driver:str,?node-name:str,...:any", "", qmp_run_blockdev_add },
    { "blockdev-backup",
      "?job-id:str,device:str,target:str,sync:MirrorSyncMode,?speed:int,?bitmap:str,"
      "?bitmap-mode:BitmapSyncMode,?compress:bool,?on-source-error:BlockdevOnError,"
      "?on-target-error:BlockdevOnError,?auto-finalize:bool,?auto-dismiss:bool,"
      "?filter-node-name:str,?x-perf:BackupPerf",
      "", qmp_run_blockdev_backup },
    { "blockdev-create", "job-id:str,options:any", "", qmp_run_blockdev_create },
    { "blockdev-del", "node-name:str", "", qmp_run_blockdev_del },
    { "blockdev-mirror",
      "?job-id:str,device:str,target:str,?replaces:str,sync:MirrorSyncMode,?speed:int,"
      "?filter-node-name:str,?granularity:int,?buf-size:int,"
      "?on-source-error:BlockdevOnError,?on-target-error:BlockdevOnError,"
      "?copy-mode:MirrorCopyMode,?auto-finalize:bool,?auto-dismiss:bool",
      "", qmp_run_blockdev_mirror },
    { "blockdev-reopen", "options:[any]", "", qmp_run_blockdev_reopen },
    { "blockdev-snapshot", "node:str,overlay:str", "", qmp_run_snapshot },
    { "block-set-write-threshold", "node-name:str,write-threshold:int", "",
      qmp_run_write_threshold },
    { "blockdev-snapshot-sync",
      "?device:str,?node-name:str,snapshot-file:str,?snapshot-node-name:str,"
      "?format:str,?mode:NewImageMode",
      "", qmp_run_snapshot_sync },
    { "change-backing-file", "device:str,image-node-name:str,backing-file:str", "",
      qmp_run_change_backing },
    { "chardev-add", "id:str,backend:ChardevBackend", "ChardevReturn", qmp_run_chardev_add },
    { "chardev-remove", "id:str", "", qmp_run_chardev_remove },
    { "chardev-send-break", "id:str", "", qmp_run_chardev_send_break },
    { "closefd", "fdname:str", "", qmp_run_closefd },
    { "cont", "", "", qmp_run_cont },
    { "device-list-properties", "typename:str", "[ObjectPropertyInfo]",
      qmp_device_list_properties },
    { "device_add", "driver:str,?bus:str,?id:str,...:any", "", qmp_run_device_add },
    { "device_del", "id:str", "", qmp_run_device_del },
    { "drive-backup",
      "?job-id:str,device:str,target:str,sync:MirrorSyncMode,?speed:int,?bitmap:str,"
      "?bitmap-mode:BitmapSyncMode,?compress:bool,?on-source-error:BlockdevOnError,"
      "?on-target-error:BlockdevOnError,?auto-finalize:bool,?auto-dismiss:bool,"
      "?filter-node-name:str,?x-perf:BackupPerf,?format:str,?mode:NewImageMode",
      "", qmp_run_drive_backup },
    { "drive-mirror",
      "?job-id:str,device:str,target:str,?format:str,?node-name:str,?replaces:str,"
      "sync:MirrorSyncMode,?mode:NewImageMode,?speed:int,?unmap:bool,?granularity:int,"
      "?buf-size:int,?on-source-error:BlockdevOnError,?on-target-error:BlockdevOnError,"
      "?copy-mode:MirrorCopyMode,?auto-finalize:bool,?auto-dismiss:bool",
      "", qmp_run_drive_mirror },
    { "getfd", "fdname:str", "", qmp_run_getfd },
    { "human-monitor-command", "command-line:str,?cpu-index:int", "str", qmp_run_human },
    { "inject-nmi", "", "", qmp_run_nmi },
    { "job-cancel", "id:str", "", qmp_run_job_cancel },
    { "job-complete", "id:str", "", qmp_run_job_complete },
    { "job-dismiss", "id:str", "", qmp_run_job_dismiss },
    { "job-finalize", "id:str", "", qmp_run_job_finalize },
    { "job-pause", "id:str", "", qmp_run_job_pause },
    { "job-resume", "id:str", "", qmp_run_job_resume },
    { "memsave", "val:int,size:int,filename:str,?cpu-index:int", "", qmp_run_memsave },
    { "nbd-server-add", "device:str,?name:str,?description:str,?writable:bool,?bitmap:str", "",
      qmp_run_nbd_server_add },
    { "nbd-server-remove", "name:str,?mode:BlockExportRemoveMode", "", qmp_run_nbd_server_remove },
    { "nbd-server-start",
      "addr:SocketAddressLegacy,?tls-creds:str,?tls-authz:str,?max-connections:int", "",
      qmp_run_nbd_server_start },
    { "nbd-server-stop", "", "", qmp_run_nbd_server_stop },
    { "netdev_add", "type:str,id:str,...:any", "", qmp_run_netdev_add },
    { "netdev_del", "id:str", "", qmp_run_netdev_del },
    { "object-add", "qom-type:str,id:str,...:any", "", qmp_run_object_add },
    { "object-del", "id:str", "", qmp_run_object_del },
    { "pmemsave", "val:int,size:int,filename:str", "", qmp_run_pmemsave },
    { "qmp_capabilities", "?enable:[QMPCapability]", "", qmp_run_capabilities },
    { "qom-get", "path:str,property:str", "any", qmp_qom_get },
    { "qom-list", "path:str", "[ObjectPropertyInfo]", qmp_qom_list },
    { "qom-list-properties", "typename:str", "[ObjectPropertyInfo]", qmp_qom_list_properties },
    { "qom-list-types", "?implements:str,?abstract:bool", "[ObjectTypeInfo]", qmp_qom_list_types },
    { "qom-set", "path:str,property:str,value:any", "", qmp_qom_set },
    { "query-balloon", "", "BalloonInfo", qmp_query_balloon },
    { "query-block", "", "[BlockInfo]", qmp_query_block },
    { "query-block-exports", "", "[BlockExportInfo]", qmp_query_block_exports },
    { "query-block-jobs", "", "[BlockJobInfo]", qmp_query_block_jobs },
    { "query-blockstats", "?query-nodes:bool", "[BlockStats]", qmp_query_blockstats },
    { "query-chardev", "", "[ChardevInfo]", qmp_query_chardev },
    { "query-commands", "", "[CommandInfo]", qmp_run_query_commands },
    { "query-cpu-definitions", "", "[CpuDefinitionInfo]", qmp_query_cpu_definitions },
    { "query-cpu-model-expansion", "type:CpuModelExpansionType,model:CpuModelInfo",
      "CpuModelExpansionInfo", qmp_query_cpu_model_expansion },
    { "query-cpus-fast", "", "[CpuInfoFast]", qmp_query_cpus_fast },
    { "query-fdsets", "", "[FdsetInfo]", qmp_query_fdsets },
    { "query-hotpluggable-cpus", "", "[HotpluggableCPU]", qmp_query_hotpluggable_cpus },
    { "query-iothreads", "", "[IOThreadInfo]", qmp_query_iothreads },
    { "query-jobs", "", "[JobInfo]", qmp_query_jobs },
    { "query-kvm", "", "KvmInfo", qmp_query_kvm },
    { "query-machines", "", "[MachineInfo]", qmp_query_machines },
    { "query-memory-size-summary", "", "MemoryInfo", qmp_query_memory_size },
    { "query-name", "", "NameInfo", qmp_query_name },
    { "query-named-block-nodes", "?flat:bool", "[BlockDeviceInfo]", qmp_query_named_nodes },
    { "query-qmp-schema", "", "[SchemaInfo]", qmp_run_query_schema },
    { "query-status", "", "StatusInfo", qmp_query_status },
    { "query-target", "", "TargetInfo", qmp_query_target },
    { "query-uuid", "", "UuidInfo", qmp_query_uuid },
    { "query-version", "", "VersionInfo", qmp_query_version },
    { "quit", "", "", qmp_run_quit },
    { "remove-fd", "fdset-id:int,?fd:int", "", qmp_run_remove_fd },
    { "screendump", "filename:str,?device:str,?head:int,?format:ImageFormat", "",
      qmp_run_screendump },
    { "set-action", "?reboot:RebootAction,?shutdown:ShutdownAction", "", qmp_run_set_action },
    { "set_link", "name:str,up:bool", "", qmp_run_set_link },
    { "stop", "", "", qmp_run_stop },
    { "system_powerdown", "", "", qmp_run_powerdown },
    { "system_reset", "", "", qmp_run_reset },
    { "system_wakeup", "", "", qmp_run_wakeup },
    { "transaction", "actions:[any],?properties:any", "", qmp_run_transaction },
    { "x-debug-query-block-graph", "", "XDbgBlockGraph", qmp_query_block_graph },
    { .name = NULL },
};

const SchemaStruct schema_structs[] = {
    { "AddfdInfo", "fdset-id:int,fd:int" },
    { "BackupPerf", "?use-copy-range:bool,?max-workers:int,?max-chunk:int" },
    { "BalloonInfo", "actual:int" },
    { "BlockDeviceInfo",
      "?node-name:str,?backing_file:str,file:str,ro:bool,drv:str,backing_file_depth:int,encrypted:"
      "bool,"
      "detect_zeroes:str,bps:int,bps_rd:int,bps_wr:int,iops:int,iops_rd:int,"
      "iops_wr:int,image:ImageInfo,cache:BlockdevCacheInfo,write_threshold:int,"
      "?dirty-bitmaps:[BlockDirtyInfo],"
      "?bps_max:int,?bps_max_length:int,?bps_rd_max:int,"
      "?bps_rd_max_length:int,?bps_wr_max:int,?bps_wr_max_length:int,"
      "?iops_max:int,?iops_max_length:int,?iops_rd_max:int,"
      "?iops_rd_max_length:int,?iops_wr_max:int,?iops_wr_max_length:int,"
      "?iops_size:int,?group:str" },
    { "BlockDeviceStats",
      "rd_bytes:int,wr_bytes:int,unmap_bytes:int,rd_operations:int,wr_operations:int,"
      "flush_operations:int,unmap_operations:int,rd_total_time_ns:int,wr_total_time_ns:int,"
      "flush_total_time_ns:int,unmap_total_time_ns:int,wr_highest_offset:int,rd_merged:int,"
      "wr_merged:int,unmap_merged:int,?idle_time_ns:int,failed_rd_operations:int,"
      "failed_wr_operations:int,failed_flush_operations:int,failed_unmap_operations:int,"
      "invalid_rd_operations:int,invalid_wr_operations:int,invalid_flush_operations:int,"
      "invalid_unmap_operations:int,account_invalid:bool,account_failed:bool,timed_stats:[any]" },
    { "BlockDirtyInfo", "?name:str,count:int,granularity:int,recording:bool,busy:bool,"
                        "persistent:bool,?inconsistent:bool" },
    { "BlockExportInfo", "id:str,type:BlockExportType,node-name:str,shutting-down:bool" },
    { "BlockInfo", "device:str,?qdev:str,type:str,removable:bool,locked:bool,"
                   "?inserted:BlockDeviceInfo,?io-status:BlockDeviceIoStatus" },
    { "BlockJobInfo",
      "type:str,device:str,len:int,offset:int,busy:bool,paused:bool,speed:int,"
      "io-status:BlockDeviceIoStatus,ready:bool,status:JobStatus,auto-finalize:bool,"
      "auto-dismiss:bool,?error:str" },
    { "BlockStats",
      "?device:str,?qdev:str,?node-name:str,stats:BlockDeviceStats,?driver-specific:any,"
      "?parent:BlockStats,?backing:BlockStats" },
    { "BlockdevCacheInfo", "writeback:bool,direct:bool,no-flush:bool" },
    { "ChardevBackend", "type:str,data:any" },
    { "ChardevInfo", "label:str,filename:str,frontend-open:bool" },
    { "ChardevReturn", "?pty:str" },
    { "CommandInfo", "name:str" },
    { "CpuDefinitionInfo",
      "name:str,typename:str,unavailable-features:[str],static:bool,deprecated:bool" },
    { "CpuInfoFast",
      "cpu-index:int,qom-path:str,thread-id:int,?props:CpuInstanceProperties,target:SysEmuTarget" },
    { "CpuInstanceProperties", "?socket-id:int,?die-id:int,?core-id:int,?thread-id:int" },
    { "CpuModelExpansionInfo", "model:CpuModelInfo" },
    { "CpuModelInfo", "name:str,?props:any" },
    { "FdsetFdInfo", "fd:int,?opaque:str" },
    { "FdsetInfo", "fdset-id:int,fds:[FdsetFdInfo]" },
    { "HotpluggableCPU", "type:str,vcpus-count:int,props:CpuInstanceProperties,?qom-path:str" },
    { "IOThreadInfo",
      "id:str,thread-id:int,poll-max-ns:int,poll-grow:int,poll-shrink:int,aio-max-batch:int" },
    { "ImageInfo", "filename:str,format:str,virtual-size:int,?actual-size:int,?dirty-flag:bool,"
                   "?cluster-size:int,?backing-filename:str,?full-backing-filename:str,"
                   "?backing-filename-format:str,?encrypted:bool,?snapshots:[any],"
                   "?backing-image:ImageInfo,?format-specific:any" },
    { "JobInfo", "id:str,type:JobType,status:JobStatus,current-progress:int,total-progress:int,"
                 "?error:str" },
    { "KvmInfo", "enabled:bool,present:bool" },
    { "MachineInfo", "name:str,?alias:str,?is-default:bool,cpu-max:int,hotpluggable-cpus:bool,"
                     "numa-mem-supported:bool,deprecated:bool,acpi:bool" },
    { "MemoryInfo", "base-memory:int,?plugged-memory:int" },
    { "NameInfo", "?name:str" },
    { "ObjectPropertyInfo", "name:str,type:str,?description:str,?default-value:any" },
    { "ObjectTypeInfo", "name:str,?abstract:bool,?parent:str" },
    { "SchemaInfo", "name:str,meta-type:str" },
    { "SocketAddressLegacy", "type:SocketAddressType,data:any" },
    { "StatusInfo", "running:bool,singlestep:bool,status:RunState" },
    { "TargetInfo", "arch:SysEmuTarget" },
    { "UuidInfo", "UUID:str" },
    { "VersionInfo", "qemu:VersionTriple,package:str" },
    { "VersionTriple", "major:int,minor:int,micro:int" },
    { "XDbgBlockGraph", "nodes:[XDbgBlockGraphNode],edges:[XDbgBlockGraphEdge]" },
    { "XDbgBlockGraphEdge", "parent:int,child:int,name:str,perm:[str],shared-perm:[str]" },
    { "XDbgBlockGraphNode", "id:int,type:str,name:str" },
    { .name = NULL },
};

const SchemaEnum schema_enums[] = {
    { "ActionCompletionMode", "individual,grouped" },
    { "BitmapSyncMode", "on-success,never,always" },
    { "BlockDeviceIoStatus", "ok,failed,nospace" },
    { "BlockErrorAction", "ignore,report,stop" },
    { "BlockExportRemoveMode", "safe,hard" },
    { "BlockExportType", "nbd" },
    { "BlockdevOnError", "report,ignore,enospc,stop,auto" },
    { "CpuModelExpansionType", "static,full" },
    { "GuestPanicAction", "pause,poweroff,run" },
    { "ImageFormat", "ppm,png" },
    { "IoOperationType", "read,write" },
    { "JobStatus", "undefined,created,running,paused,ready,standby,waiting,pending,aborting,"
                   "concluded,null" },
    { "JobType", "commit,stream,mirror,backup,create" },
    { "MirrorCopyMode", "background,write-blocking" },
    { "MirrorSyncMode", "top,full,none,incremental,bitmap" },
    { "NewImageMode", "existing,absolute-paths" },
    { "QMPCapability", "oob" },
    { "RebootAction", "reset,shutdown" },
    { "RunState", "debug,internal-error,io-error,paused,prelaunch,running,shutdown,suspended,"
                  "guest-panicked" },
    { "ShutdownAction", "poweroff,pause" },
    { "ShutdownCause", "none,host-error,host-qmp-quit,host-qmp-system-reset,host-signal,host-ui,"
                       "guest-shutdown,guest-reset,guest-panic,subsystem-reset" },
    { "SocketAddressType", "inet,unix,fd" },
    { "SysEmuTarget", "x86_64" },
    { .name = NULL },
};

const SchemaEvent schema_events[] = {
    { "BALLOON_CHANGE", "actual:int" },
    { "BLOCK_EXPORT_DELETED", "id:str" },
    { "BLOCK_IO_ERROR",
      "device:str,?node-name:str,operation:IoOperationType,action:BlockErrorAction,"
      "nospace:bool,reason:str" },
    { "BLOCK_JOB_CANCELLED", "type:JobType,device:str,len:int,offset:int,speed:int" },
    { "BLOCK_JOB_COMPLETED", "type:JobType,device:str,len:int,offset:int,speed:int,?error:str" },
    { "BLOCK_JOB_ERROR", "device:str,operation:IoOperationType,action:BlockErrorAction" },
    { "BLOCK_JOB_PENDING", "type:JobType,id:str" },
    { "BLOCK_JOB_READY", "type:JobType,device:str,len:int,offset:int,speed:int" },
    { "BLOCK_WRITE_THRESHOLD", "node-name:str,amount-exceeded:int,write-threshold:int" },
    { "DEVICE_DELETED", "?device:str,path:str" },
    { "GUEST_PANICKED", "action:GuestPanicAction" },
    { "JOB_STATUS_CHANGE", "id:str,status:JobStatus" },
    { "POWERDOWN", "" },
    { "RESET", "guest:bool,reason:ShutdownCause" },
    { "RESUME", "" },
    { "RTC_CHANGE", "offset:int" },
    { "SHUTDOWN", "guest:bool,reason:ShutdownCause" },
    { "STOP", "" },
    { "VSERPORT_CHANGE", "id:str,open:bool" },
    { .name = NULL },
};
