/* Monitors: what their files share. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_INTERNAL_H
#define LODGE_VMM_MONITOR_INTERNAL_H

#include "block/export/exports.h"
#include "block/job/job.h"
#include "vmm/monitor/json-frame.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/readline.h"
#include "vmm/monitor/schema.h"

/* Where devices with an id are in the tree of objects. */
#define QOM_PERIPHERAL "/machine/peripheral/"
/* Where the tree of objects has @dev. (transfer full) */
char *qmp_device_path(const MonitorTarget *target, const Device *dev);

struct MonitorSet {
    MonitorTarget target;
    EventLoop *loop;
    GPtrArray *sessions;   /* of MonitorSession */
    JobSet *jobs;          /* NULL: there is no graph */
    BlockExports *exports; /* NULL: there is no graph */
    LoopTimer *rtc_timer;
    bool rtc_is_pending;
    int64_t rtc_offset_s, rtc_last_ns;
};

/* One monitor on its back end; peers of a socket come and go. */
struct MonitorSession {
    MonitorSet *set;
    CharBackend *backend;
    MonitorMode mode;
    GByteArray *output; /* waits for the peer: what the back end does not keep */
    GByteArray *input;  /* waits for the output to go; at most one piece of the back end's */
    /* QMP, of the present peer */
    JsonFrame frame;
    bool is_negotiated;
    /* HMP */
    Readline *readline;
    bool is_shown;         /* banner and prompt were written */
    unsigned current_vcpu; /* that `info registers` and x look at */
};

/* qmp.c */
void qmp_open(MonitorSession *session);
void qmp_receive(MonitorSession *session, uint8_t byte);
/* One message. @message: (transfer full) */
void qmp_send(MonitorSession *session, JsonObject *message);
JsonObject *qmp_timestamp(void);

/* Commands, by QmpCommand.run: commands.c, queries.c, qom.c, qom-types.c, fds.c, hotplug.c. */
JsonNode *qmp_device_list_properties(MonitorSession *session, JsonObject *arguments,
                                     GError **error);
JsonNode *qmp_qom_get(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_qom_list(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_qom_list_properties(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_qom_list_types(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_qom_set(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_balloon(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_block_exports(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_block_export_add(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_block_export_del(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_nbd_server_add(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_nbd_server_remove(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_nbd_server_start(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_nbd_server_stop(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_block(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_blockstats(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_block_set_io_throttle(MonitorSession *session, JsonObject *arguments,
                                        GError **error);
JsonNode *qmp_run_block_resize(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_chardev(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_cpu_definitions(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_cpu_model_expansion(MonitorSession *session, JsonObject *arguments,
                                        GError **error);
JsonNode *qmp_query_cpus_fast(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_fdsets(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_hotpluggable_cpus(MonitorSession *session, JsonObject *arguments,
                                      GError **error);
JsonNode *qmp_query_iothreads(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_kvm(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_machines(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_memory_size(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_name(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_status(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_target(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_uuid(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_version(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_add_fd(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_balloon(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_capabilities(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_chardev_add(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_chardev_remove(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_chardev_send_break(MonitorSession *session, JsonObject *arguments,
                                     GError **error);
JsonNode *qmp_run_closefd(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_cont(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_device_add(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_device_del(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_getfd(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_human(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_netdev_add(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_netdev_del(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_nmi(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_object_add(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_object_del(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_powerdown(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_query_commands(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_query_schema(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_quit(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_remove_fd(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_reset(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_screendump(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_set_action(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_set_link(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_stop(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_wakeup(MonitorSession *session, JsonObject *arguments, GError **error);
/* block-nodes.c, block-start.c, block-jobs.c, block-transaction.c */
JsonNode *qmp_query_block_graph(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_block_jobs(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_jobs(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_query_named_nodes(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_block_commit(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_block_job_cancel(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_block_job_complete(MonitorSession *session, JsonObject *arguments,
                                     GError **error);
JsonNode *qmp_run_block_job_dismiss(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_block_job_finalize(MonitorSession *session, JsonObject *arguments,
                                     GError **error);
JsonNode *qmp_run_block_job_pause(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_block_job_resume(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_block_job_set_speed(MonitorSession *session, JsonObject *arguments,
                                      GError **error);
JsonNode *qmp_run_block_stream(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_blockdev_add(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_blockdev_backup(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_blockdev_create(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_blockdev_del(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_blockdev_mirror(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_blockdev_reopen(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_write_threshold(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_memsave(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_pmemsave(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_change_backing(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_drive_backup(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_drive_mirror(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_job_cancel(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_job_complete(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_job_dismiss(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_job_finalize(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_job_pause(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_job_resume(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_snapshot(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_snapshot_sync(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_bitmap_add(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_bitmap_remove(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_bitmap_clear(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_bitmap_enable(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_bitmap_disable(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_bitmap_merge(MonitorSession *session, JsonObject *arguments, GError **error);
JsonNode *qmp_run_transaction(MonitorSession *session, JsonObject *arguments, GError **error);
/* Nodes of what they return. (transfer full) */
JsonNode *qmp_take_object(JsonObject *object);
JsonNode *qmp_take_array(JsonArray *array);
JsonNode *qmp_string(const char *text);
/* The members of query-version's "qemu": the release whose QMP this is like. */
JsonObject *qmp_version_object(void);

/* monitor.c: for the peer, all of it, in time. What commands write is bounded as no further one
 * runs meanwhile. */
void monitor_write(MonitorSession *session, const void *bytes, size_t length);
/* An event by its name; peers that leave too many unread miss it. @data: (transfer full) */
void monitor_emit_data(MonitorSet *set, const char *name, JsonObject *data);

/* hmp.c */
#define HMP_PROMPT "(lodge) "
/* Words that may end @line. */
void hmp_complete(const char *line, GPtrArray *words);
void hmp_open(MonitorSession *session);
void hmp_show(MonitorSession *session);
void hmp_receive(MonitorSession *session, uint8_t byte);
/* Runs one line; what it prints is appended. */
void hmp_execute(MonitorSession *session, const char *line, GString *out);

/* hmp-info.c */
typedef struct HmpInfo {
    const char *name, *help;
    void (*run)(MonitorSession *session, GString *out);
} HmpInfo;
extern const HmpInfo hmp_infos[]; /* ends with a NULL name */

/* inspect.c */
void inspect_registers(const CpuState *state, GString *out);
/* The value of a register by its name, "rip" or "eax"; false: no such. */
bool inspect_register(const CpuState *state, const char *name, uint64_t *out_value);
/* `info mem`: ranges of virtual memory by their rights. */
void inspect_mappings(const MonitorTarget *target, const CpuState *state, GString *out);

/* dump.c: commands x and xp; @arguments: "/FORMAT ADDRESS" or "ADDRESS". */
void dump_memory(MonitorSession *session, const char *arguments, bool is_virtual, GString *out);

/* balloon of the target, in bytes; the error says that there is none. */
bool monitor_get_balloon(const MonitorTarget *target, uint64_t *out_bytes, GError **error);
bool monitor_set_balloon(const MonitorTarget *target, uint64_t bytes, GError **error);
bool monitor_wakeup(const MonitorTarget *target, GError **error);
bool monitor_nmi(const MonitorTarget *target, GError **error);
/* Plugs the cable of a netdev in or out. */
bool monitor_set_link(const MonitorTarget *target, const char *name, bool is_up, GError **error);

#endif
