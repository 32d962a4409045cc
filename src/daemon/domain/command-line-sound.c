/* Arguments of sound: cards, and the back ends that take it to the host (QEMU's -audiodev; the QAPI
 * type Audiodev has the names). The guest's process reaches devices, servers and files of the host
 * itself, as its own user. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"
#include "daemon/error.h"

/* --- cards --- */

void line_append_audiodev(const CommandLine *line, GString *text, const OptUint *id)
{
    const XmlList *list = &line->def->devices[DEVICE_AUDIO];
    const DomainAudio *first = list->count ? list->item[0] : NULL;
    if (id->set) {
        g_string_append_printf(text, ",audiodev=audio%" G_GUINT64_FORMAT, id->value);
    } else if (first) {
        g_string_append_printf(text, ",audiodev=audio%" G_GUINT64_FORMAT,
                               first->id.set ? first->id.value : 1);
    }
}

static bool is_hda(const DomainSound *sound)
{
    return sound->model == SOUND_ICH6 || sound->model == SOUND_ICH9;
}

static char *sound_device(CommandLine *line, const DomainSound *sound, GError **error)
{
    g_autofree char *address = sound->model == SOUND_USB ? line_usb_address(&sound->device)
                                                         : line_address(line, &sound->device);
    const char *name = device_table_word(PROPERTY_SOUND, (int)sound->model, line->engine);
    if (!name) {
        line_refuse_unless(line, device_table_has(PROPERTY_SOUND, (int)sound->model, ENGINE_QEMU),
                           error, "sound device '%s'", domain_name(sound_model, sound->model));
        return NULL;
    }
    GString *text = g_string_new(name);
    g_string_append_printf(text, ",id=%s%s", sound->device.alias, address);
    if (sound->model == SOUND_USB) {
        line_append_tri(text, "multi", sound->multichannel);
    }
    if (!is_hda(sound)) {
        line_append_audiodev(line, text, &sound->audio_id);
    }
    return g_string_free(text, FALSE);
}

/* What hangs on an HDA controller: "duplex" where nothing is said. */
static void add_codecs(CommandLine *line, const DomainSound *sound)
{
    for (unsigned i = 0; i == 0 || i < sound->codecs.count; i++) {
        const DomainSoundCodec *codec = sound->codecs.count ? sound->codecs.item[i] : NULL;
        GString *text = g_string_new(NULL);
        g_string_printf(text, "hda-%s,id=%s-codec%u,bus=%s.0,cad=%u",
                        codec ? codec->type : "duplex", sound->device.alias, i, sound->device.alias,
                        i);
        line_append_audiodev(line, text, &sound->audio_id);
        line_add(line, "-device", g_string_free(text, FALSE));
    }
}

static bool check_codecs(const DomainSound *sound, GError **error)
{
    static const char *const types[] = { "duplex", "micro", "output", NULL };
    for (unsigned i = 0; i < sound->codecs.count; i++) {
        const DomainSoundCodec *codec = sound->codecs.item[i];
        if (!g_strv_contains(types, codec->type ?: "")) {
            daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                             "unsupported configuration: <sound> has no <codec type='%s'>; there "
                             "are 'duplex', 'micro' and 'output'",
                             codec->type ?: "");
            return false;
        }
    }
    return true;
}

bool line_add_sound(CommandLine *line, DomainDevice *device, GError **error)
{
    const DomainSound *sound = (const DomainSound *)device;
    char *text = check_codecs(sound, error) ? sound_device(line, sound, error) : NULL;
    if (!text) {
        return false;
    }
    line_add(line, "-device", text);
    if (is_hda(sound)) {
        add_codecs(line, sound);
    }
    return true;
}

/* --- back ends --- */

static void append_text(GString *text, const char *prefix, const char *name, const char *value)
{
    if (value) {
        g_autofree char *escaped = line_escape(value);
        g_string_append_printf(text, ",%s%s=%s", prefix, name, escaped);
    }
}

/* 0: not given. */
static void append_number(GString *text, const char *prefix, const char *name, uint32_t value)
{
    if (value) {
        g_string_append_printf(text, ",%s%s=%u", prefix, name, value);
    }
}

/* @prefix: "in." or "out." Only what the type of back end has is given: the XML's table sees to
 * that. */
static void append_direction(GString *text, const char *prefix, const DomainAudioIo *io)
{
    const struct {
        const char *name;
        TriState value;
    } switches[] = { { "mixing-engine", io->mixing_engine },
                     { "fixed-settings", io->fixed_settings },
                     { "try-poll", io->oss_try_poll },
                     { "exact-name", io->exact_name } };
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = { { "voices", io->voices },
                    { "buffer-length", io->buffer_length },
                    { "frequency", io->frequency },
                    { "channels", io->channels },
                    { "buffer-count", io->buffer_count },
                    { "latency", io->latency } };
    const struct {
        const char *name, *value;
    } texts[] = { { "format", domain_name(audio_format, io->format) },
                  { "dev", io->dev },
                  { "name", io->name },
                  { "stream-name", io->stream_name },
                  { "server-name", io->server_name },
                  { "client-name", io->client_name },
                  { "connect-ports", io->connect_ports } };
    for (unsigned i = 0; i < G_N_ELEMENTS(switches); i++) {
        g_autofree char *name = g_strconcat(prefix, switches[i].name, NULL);
        line_append_tri(text, name, switches[i].value);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++) {
        append_number(text, prefix, numbers[i].name, numbers[i].value);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        append_text(text, prefix, texts[i].name, texts[i].value);
    }
}

bool line_add_audio(CommandLine *line, DomainDevice *device, GError **error)
{
    const DomainAudio *audio = (const DomainAudio *)device;
    const char *driver = device_table_word(PROPERTY_AUDIO, (int)audio->type, line->engine);
    if (!driver) {
        return line_refuse_unless(
            line, device_table_has(PROPERTY_AUDIO, (int)audio->type, ENGINE_QEMU), error,
            "audio back end '%s'", domain_name(audio_type, audio->type));
    }
    GString *text = g_string_new(driver);
    g_string_append_printf(text, ",id=audio%" G_GUINT64_FORMAT,
                           audio->id.set ? audio->id.value : 1);
    append_number(text, "", "timer-period", audio->timer_period);
    append_text(text, "", "server", audio->server_name);
    append_text(text, "", "path", audio->path);
    line_append_tri(text, "try-mmap", audio->oss_try_mmap);
    line_append_tri(text, "exclusive", audio->oss_exclusive);
    if (audio->oss_dsp_policy.set) {
        g_string_append_printf(text, ",dsp-policy=%" G_GUINT64_FORMAT, audio->oss_dsp_policy.value);
    }
    append_direction(text, "in.", &audio->input);
    append_direction(text, "out.", &audio->output);
    line_add(line, "-audiodev", g_string_free(text, FALSE));
    if (audio->sdl_driver) {
        g_ptr_array_add(line->env, g_strdup_printf("SDL_AUDIODRIVER=%s",
                                                   domain_name(sdl_audio, audio->sdl_driver)));
    }
    return true;
}
