/* Command lines and what becomes of them: a configuration in short, or the one line of an error.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/size.h"
#include "lib/check.h"
#include "vmm/options/config.h"

#include <inttypes.h>

typedef struct Case {
    const char *line; /* words separated by blanks */
    const char *want;
} Case;

static MachineConfig *parse(const char *line, GError **error)
{
    g_autofree char *command = g_strdup_printf("lodge-vmm%s%s", *line ? " " : "", line);
    g_auto(GStrv) words = g_strsplit(command, " ", 0);
    return options_parse((int)g_strv_length(words), words, error);
}

static void format_backends(const char *what, const GPtrArray *array, GString *out)
{
    for (guint i = 0; i < array->len; i++) {
        const BackendConfig *backend = g_ptr_array_index(array, i);
        g_autofree char *options = keyval_format(backend->options);
        g_string_append_printf(out, " %s=%s:%s(%s)", what, backend->type, backend->id, options);
    }
}

static void format_lists(const MachineConfig *config, GString *out)
{
    for (guint i = 0; i < config->drives->len; i++) {
        const DriveConfig *drive = g_ptr_array_index(config->drives, i);
        g_string_append_printf(out, " drive=%s:%s", drive->id, drive->file);
    }
    format_backends("netdev", config->netdevs, out);
    format_backends("chardev", config->chardevs, out);
    format_backends("object", config->objects, out);
    for (guint i = 0; i < config->devices->len; i++) {
        const DeviceConfig *device = g_ptr_array_index(config->devices, i);
        g_autofree char *properties = keyval_format(device->properties);
        g_string_append_printf(out, " device=%s:%s(%s)", device->driver,
                               device->id ? device->id : "", properties);
    }
    for (guint i = 0; i < config->serials->len; i++) {
        const char *serial = g_ptr_array_index(config->serials, i);
        g_string_append_printf(out, " serial=%s", serial ? serial : "none");
    }
    for (guint i = 0; i < config->monitors->len; i++) {
        const MonitorConfig *monitor = g_ptr_array_index(config->monitors, i);
        g_string_append_printf(out, " monitor=%s%s", monitor->chardev,
                               monitor->is_control ? ":control" : "");
    }
}

/* Says only what differs from the default. */
static const char *jit_text(const MachineConfig *config)
{
    g_autoptr(MachineConfig) fresh = machine_config_new();
    bool is_default = config->accel.uses_jit == fresh->accel.uses_jit;
    return is_default ? "" : config->accel.uses_jit ? ",jit=on" : ",jit=off";
}

/* What differs from one case to the next. */
static char *format(const MachineConfig *config)
{
    GString *out = g_string_new(NULL);
    g_autofree char *ram = size_format(config->ram_bytes);
    g_string_append_printf(out, "%s %s", config->machine.type, ram);
    for (unsigned i = 0; i < config->accel.count; i++) {
        g_string_append_printf(out, "%c%s", i ? ':' : ' ', config->accel.name[i]);
    }
    const SmpConfig *smp = &config->smp;
    g_string_append_printf(out, "%s %" PRIu64 "=%" PRIu64 "*%" PRIu64 "*%" PRIu64 "*%" PRIu64,
                           jit_text(config), smp->cpus, smp->sockets, smp->dies, smp->cores,
                           smp->threads);
    format_lists(config, out);
    return g_string_free(out, FALSE);
}

/* All begin with -nodefaults. */
static const Case good[] = {
    { "", "q35 128M kvm:xlate 1=1*1*1*1" },
    { "-m 1G -smp 4", "q35 1G kvm:xlate 4=1*1*4*1" },
    { "--m size=512 --smp cpus=8,sockets=2,threads=2", "q35 512M kvm:xlate 8=2*1*2*2" },
    { "-smp sockets=2,cores=3", "q35 128M kvm:xlate 6=2*1*3*1" },
    { "-smp 6,cores=3", "q35 128M kvm:xlate 6=2*1*3*1" },
    { "-machine microvm,accel=tcg", "microvm 128M xlate 1=1*1*1*1" },
    { "-accel kvm -accel xlate", "q35 128M kvm:xlate 1=1*1*1*1" },
    { "-enable-kvm", "q35 128M kvm 1=1*1*1*1" },
    { "-drive file=a,,b,format=raw,if=none,id=d0 -device virtio-blk-pci,drive=d0,id=x",
      "q35 128M kvm:xlate 1=1*1*1*1 drive=d0:a,b device=virtio-blk-pci:x(drive=d0)" },
    { "-drive disk.img",
      "q35 128M kvm:xlate 1=1*1*1*1 drive=virtio0:disk.img device=default-disk:(drive=virtio0)" },
    { "-nic user,model=virtio-net-pci,hostfwd=tcp::22-:22",
      "q35 128M kvm:xlate 1=1*1*1*1 netdev=user:net0(hostfwd=tcp::22-:22) "
      "device=virtio-net-pci:(netdev=net0)" },
    { "-nic none", "q35 128M kvm:xlate 1=1*1*1*1" },
    { "-device {\"driver\":\"d\",\"id\":\"x\",\"on\":true,\"n\":7,\"o\":{\"p\":\"q,r\"}}",
      "q35 128M kvm:xlate 1=1*1*1*1 device=d:x(on=on,n=7,o.p=q,,r)" },
    { "-netdev {\"type\":\"user\",\"id\":\"n\",\"hostfwd\":[{\"str\":\"a\"},{\"str\":\"b\"}]}",
      "q35 128M kvm:xlate 1=1*1*1*1 netdev=user:n(hostfwd=a,hostfwd=b)" },
    { "-no-hpet -overcommit mem-lock=off -sandbox on,spawn=deny -action reboot=shutdown",
      "q35 128M kvm:xlate 1=1*1*1*1" },
    { "-serial stdio -serial none -serial file:/tmp/x",
      "q35 128M kvm:xlate 1=1*1*1*1 chardev=stdio:serial0() chardev=file:serial2(path=/tmp/x) "
      "serial=serial0 serial=none serial=serial2" },
    { "-serial mon:stdio",
      "q35 128M kvm:xlate 1=1*1*1*1 chardev=stdio:serial0(mux=on,signal=off) serial=serial0 "
      "monitor=serial0" },
    { "-serial mon:stdio -monitor mon:stdio",
      "q35 128M kvm:xlate 1=1*1*1*1 chardev=stdio:serial0(mux=on,signal=off) serial=serial0 "
      "monitor=serial0" },
    { "-qmp unix:/tmp/q,server,nowait",
      "q35 128M kvm:xlate 1=1*1*1*1 "
      "chardev=socket:compat_monitor0(path=/tmp/q,server=on,nowait=on) "
      "monitor=compat_monitor0:control" },
    { "-chardev socket,id=c,path=/a -mon c,mode=control",
      "q35 128M kvm:xlate 1=1*1*1*1 chardev=socket:c(path=/a) monitor=c:control" },
    { "-serial tcp:localhost:44,server=on",
      "q35 128M kvm:xlate 1=1*1*1*1 "
      "chardev=socket:serial0(server=on,host=localhost,port=44) serial=serial0" },
    { "-object memory-backend-memfd,id=r,size=1G",
      "q35 128M kvm:xlate 1=1*1*1*1 object=memory-backend-memfd:r(size=1G)" },
    { "-nographic",
      "q35 128M kvm:xlate 1=1*1*1*1 chardev=stdio:serial0(mux=on,signal=off) serial=serial0 "
      "monitor=serial0" },
};

static void command_lines_become_configurations(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *line =
            g_strdup_printf("-nodefaults%s%s", *good[i].line ? " " : "", good[i].line);
        g_autoptr(MachineConfig) config = parse(line, &error);
        if (!config) {
            fail_msg("'%s' is refused: %s", line, error->message);
        }
        g_autofree char *got = format(config);
        assert_string_equal(got, good[i].want);
    }
}

static const Case bad[] = {
    { "-m 0", "-m: 0 is not a size that a guest can have; allowed: 1M to 4T" },
    { "-m 5X", "-m: '5X' is not a size; write a number and K, M, G or T, as in '512M'" },
    { "-m 9999T", "-m: 9999T is not a size that a guest can have; allowed: 1M to 4T" },
    { "-m 1G,slots=2", "-m: 'slots' is not supported; it takes size" },
    { "-smp 0", "-smp: property 'cpus' cannot be '0'; allowed: a number from 1 to 4096" },
    { "-smp 300", "-smp: 300 vCPUs are too many; the most is 255" },
    { "-smp x", "-smp: property 'cpus' cannot be 'x'; allowed: a number from 1 to 4096" },
    { "-smp 4,sockets=3,cores=1,threads=1",
      "-smp: sockets 3 * dies 1 * cores 1 * threads 1 do not make 4 vCPUs" },
    { "-smp 2,maxcpus=4",
      "-smp: maxcpus 4 differs from cpus 2; adding vCPUs later is not supported" },
    { "-kernle x", "option '-kernle' is not supported; did you mean '-kernel'?" },
    { "--zzzzzzzz", "option '--zzzzzzzz' is not supported; '-help' lists those that are" },
    { "disk.img", "'disk.img' is no option; a disk image is given by -drive file=disk.img" },
    { "-m", "option '-m' needs an argument: [size=]SIZE" },
    { "-append x", "-append needs a kernel: -kernel FILE" },
    { "-initrd x", "-initrd needs a kernel: -kernel FILE" },
    { "-accel kwm", "-accel: no accelerator is called 'kwm'; did you mean 'kvm'?" },
    { "-accel xlate,jti=on", "-accel: 'jti' is not supported; did you mean 'jit'?" },
    { "-machine q35,usb=on", "-machine: property 'usb' cannot be 'on'; allowed: off, auto" },
    { "-drive format=raw", "-drive: the image is missing: file=PATH" },
    { "-drive file=x,if=none", "-drive: a drive with if=none needs a name: id=NAME" },
    { "-drive file=x,if=ide", "-drive: property 'if' cannot be 'ide'; allowed: none, virtio" },
    { "-drive file=x,id=a -drive file=y,id=a", "-drive: there is a drive 'a' already" },
    { "-drive file=x,bps=1,bps_rd=1",
      "-drive: a total limit (bps, iops) cannot be given beside one for reads or writes" },
    { "-drive file=x,throttling.iops-total-max=5",
      "-drive: a burst rate (bps_max, iops_max) needs the limit itself (bps, iops)" },
    { "-drive file=x,snapshot=on", "-drive: snapshot=on is not supported" },
    { "-netdev user", "-netdev: netdev needs a name: id=NAME" },
    { "-netdev user,id=n -netdev user,id=n", "-netdev: there is a netdev 'n' already" },
    { "-net nic", "-net: only 'none' is supported; use -nic, or -netdev with -device" },
    { "-device a,id=x -device b,id=x", "-device: there is a device 'x' already" },
    { "-device ,id=x", "-device: a name is missing between commas" },
    { "-serial foo:bar",
      "-serial: 'foo:bar' is not supported; supported: stdio, mon:stdio, pty, null, none, "
      "file:PATH, pipe:PATH, unix:PATH[,server=on][,wait=off], tcp:[HOST]:PORT[,server=on], "
      "telnet:..., chardev:ID" },
    { "-vga std", "-vga: 'std' is not supported; supported: none" },
    { "-display gtk", "-display: 'gtk' is not supported; supported: none" },
    { "-sandbox maybe", "-sandbox: property 'enable' cannot be 'maybe'; allowed: on, off" },
    { "-device {\"driver\":[[1]]}", "-device: element 0 of 'driver' is no plain value" },
    { "-netdev {\"type\":1.5}",
      "-netdev: 'type' is neither a text, a whole number, true nor false" },
    { "-uuid 12", "-uuid: '12' is not a UUID" },
    { "-smbios type=9", "-smbios: type '9' is not supported; supported: 0, 1, 2, 3, 11" },
    { "-boot order=x", "-boot: 'x' is no boot order; it has letters from a, b, c, d, n" },
    { "-rtc base=tomorrow",
      "-rtc: base cannot be 'tomorrow'; allowed: utc, localtime, or a date as "
      "2026-01-31T12:00:00" },
    { "-global foo", "-global: 'foo' is not supported; it takes driver, property, value" },
};

static void translation_is_switched_by_a_property(void **state)
{
    g_autoptr(MachineConfig) on = parse("-accel xlate,jit=on", NULL);
    g_autoptr(MachineConfig) off = parse("-accel xlate,jit=off", NULL);
    assert_true(on->accel.uses_jit);
    assert_false(off->accel.uses_jit);
}

static void limits_of_drives_have_two_names(void **state)
{
    const char *const lines[] = {
        "-drive file=x,id=a,throttling.bps-total=7,throttling.bps-total-max=9,"
        "throttling.bps-total-max-length=3,throttling.iops-write=5,throttling.iops-size=4096,"
        "throttling.group=g",
        "-drive file=x,id=a,bps=7,bps_max=9,bps_max_length=3,iops_wr=5,iops_size=4096,group=g",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autoptr(MachineConfig) config = parse(lines[i], NULL);
        assert_non_null(config);
        const DriveConfig *drive = g_ptr_array_index(config->drives, 0);
        const ThrottleLimit *limits = drive->limits.limits;
        assert_int_equal(limits[THROTTLE_BPS_TOTAL].average, 7);
        assert_int_equal(limits[THROTTLE_BPS_TOTAL].burst, 9);
        assert_int_equal(limits[THROTTLE_BPS_TOTAL].burst_time, 3);
        assert_int_equal(limits[THROTTLE_OPS_WRITE].average, 5);
        assert_int_equal(limits[THROTTLE_OPS_WRITE].burst_time, 1);
        assert_int_equal(drive->limits.operation_size, 4096);
        assert_string_equal(drive->limits_group, "g");
    }
}

static void nonsense_is_refused_in_one_line(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(MachineConfig) config = parse(bad[i].line, &error);
        assert_null(config);
        assert_non_null(error);
        assert_null(strchr(error->message, '\n'));
        assert_string_equal(error->message, bad[i].want);
    }
}

static void help_needs_nothing_else(void **state)
{
    static const struct {
        const char *line;
        HelpTopic topic;
        const char *name;
    } cases[] = {
        { "-help", HELP_OPTIONS, NULL },
        { "--version", HELP_VERSION, NULL },
        { "-device help", HELP_DEVICES, NULL },
        { "-device virtio-blk-pci,help", HELP_DEVICE_PROPERTIES, "virtio-blk-pci" },
        { "-machine help", HELP_MACHINES, NULL },
        { "-machine q35,help", HELP_MACHINE_PROPERTIES, "q35" },
        { "-cpu help", HELP_CPUS, NULL },
        { "-accel help", HELP_ACCELS, NULL },
        { "-netdev help", HELP_NETDEVS, NULL },
        { "-netdev user,help", HELP_NETDEVS, "user" },
        { "-chardev help", HELP_CHARDEVS, NULL },
        { "-object help", HELP_OBJECTS, NULL },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(MachineConfig) config = parse(cases[i].line, NULL);
        assert_non_null(config);
        assert_int_equal(config->help, cases[i].topic);
        assert_true(g_strcmp0(config->help_name, cases[i].name) == 0);
    }
    g_autofree char *text = options_format_help("lodge-vmm");
    assert_non_null(strstr(text, "-kernel FILE"));
}

static void defaults_give_a_console_and_a_network(void **state)
{
    g_autoptr(MachineConfig) config = parse("-m 256", NULL);
    g_autofree char *got = format(config);
    assert_string_equal(
        got, "q35 256M kvm:xlate 1=1*1*1*1 netdev=user:net-default() "
             "chardev=stdio:serial0(mux=on,signal=off) device=default-nic:(netdev=net-default)"
             " serial=serial0 monitor=serial0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_lines_become_configurations),
        cmocka_unit_test(translation_is_switched_by_a_property),
        cmocka_unit_test(limits_of_drives_have_two_names),
        cmocka_unit_test(nonsense_is_refused_in_one_line),
        cmocka_unit_test(help_needs_nothing_else),
        cmocka_unit_test(defaults_give_a_console_and_a_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
