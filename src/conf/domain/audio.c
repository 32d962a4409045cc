/* <audio>: back ends of sound on the host, and which devices name one.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/post-parse.h"
#include "conf/domain/tables.h"

/* --- <input> and <output> --- */

static const XmlField settings_fields[] = {
    XML_ATTR(DomainAudioIo, frequency, "frequency", xml_ordinal),
    XML_ATTR(DomainAudioIo, channels, "channels", xml_ordinal),
    XML_ATTR_ENUM(DomainAudioIo, format, "format", audio_format_names),
    XML_END,
};

#define COMMON_IO                                                                                  \
    XML_ATTR_ENUM(DomainAudioIo, mixing_engine, "mixingEngine", yes_no_names),                     \
        XML_ATTR_ENUM(DomainAudioIo, fixed_settings, "fixedSettings", yes_no_names),               \
        XML_ATTR(DomainAudioIo, voices, "voices", xml_ordinal),                                    \
        XML_ATTR(DomainAudioIo, buffer_length, "bufferLength", xml_ordinal)
#define SETTINGS XML_NEST("settings", settings_fields, XML_PRESENT(DomainAudioIo, has_settings))

static const XmlField plain_io[] = { COMMON_IO, SETTINGS, XML_END };

static const XmlField alsa_io[] = {
    COMMON_IO,
    XML_ATTR_STR(DomainAudioIo, dev, "dev"),
    SETTINGS,
    XML_END,
};

static const XmlField counted_io[] = {
    COMMON_IO,
    XML_ATTR(DomainAudioIo, buffer_count, "bufferCount", xml_u32),
    SETTINGS,
    XML_END,
};

static const XmlField jack_io[] = {
    COMMON_IO,
    XML_ATTR_STR(DomainAudioIo, server_name, "serverName"),
    XML_ATTR_STR(DomainAudioIo, client_name, "clientName"),
    XML_ATTR_STR(DomainAudioIo, connect_ports, "connectPorts"),
    XML_ATTR_ENUM(DomainAudioIo, exact_name, "exactName", yes_no_names),
    SETTINGS,
    XML_END,
};

static const XmlField oss_io[] = {
    COMMON_IO,
    XML_ATTR_STR(DomainAudioIo, dev, "dev"),
    XML_ATTR(DomainAudioIo, buffer_count, "bufferCount", xml_u32),
    XML_ATTR_ENUM(DomainAudioIo, oss_try_poll, "tryPoll", yes_no_names),
    SETTINGS,
    XML_END,
};

static const XmlField pulseaudio_io[] = {
    COMMON_IO,
    XML_ATTR_STR(DomainAudioIo, name, "name"),
    XML_ATTR_STR(DomainAudioIo, stream_name, "streamName"),
    XML_ATTR(DomainAudioIo, latency, "latency", xml_u32),
    SETTINGS,
    XML_END,
};

/* --- <audio> --- */

#define DIRECTIONS(fields)                                                                         \
    XML_NEST_AT(DomainAudio, input, "input", fields),                                              \
        XML_NEST_AT(DomainAudio, output, "output", fields), XML_END

static const XmlField plain_fields[] = { DIRECTIONS(plain_io) };
static const XmlField alsa_fields[] = { DIRECTIONS(alsa_io) };
static const XmlField coreaudio_fields[] = { DIRECTIONS(counted_io) };
static const XmlField jack_fields[] = { DIRECTIONS(jack_io) };

static const XmlField oss_fields[] = {
    XML_ATTR_ENUM(DomainAudio, oss_try_mmap, "tryMMap", yes_no_names),
    XML_ATTR_ENUM(DomainAudio, oss_exclusive, "exclusive", yes_no_names),
    XML_ATTR(DomainAudio, oss_dsp_policy, "dspPolicy", xml_opt, .max = INT32_MAX),
    DIRECTIONS(oss_io),
};

static const XmlField pulseaudio_fields[] = {
    XML_ATTR_STR(DomainAudio, server_name, "serverName"),
    DIRECTIONS(pulseaudio_io),
};

static const XmlField sdl_fields[] = {
    XML_ATTR_ENUM(DomainAudio, sdl_driver, "driver", sdl_audio_names),
    DIRECTIONS(counted_io),
};

static const XmlField file_fields[] = {
    XML_ATTR_STR(DomainAudio, path, "path"),
    DIRECTIONS(plain_io),
};

static const XmlField *const variants[] = {
    [AUDIO_NOWHERE] = plain_fields,
    [AUDIO_ALSA] = alsa_fields,
    [AUDIO_COREAUDIO] = coreaudio_fields,
    [AUDIO_JACK] = jack_fields,
    [AUDIO_OSS] = oss_fields,
    [AUDIO_PULSEAUDIO] = pulseaudio_fields,
    [AUDIO_SDL] = sdl_fields,
    [AUDIO_SPICE] = plain_fields,
    [AUDIO_FILE] = file_fields,
    [AUDIO_DBUS] = plain_fields,
};

const XmlField audio_fields[] = {
    XML_ATTR(DomainAudio, id, "id", xml_opt, .min = 1, .max = UINT32_MAX, .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainAudio, type, "type", audio_type_names, .flags = XML_REQUIRED),
    XML_ATTR(DomainAudio, timer_period, "timerPeriod", xml_ordinal),
    XML_VARIANT(DomainAudio, type, variants),
    XML_INLINE(DomainAudio, device, device_fields),
    XML_END,
};

/* --- checks --- */

static bool check_direction(const DomainAudio *audio, const char *element, const DomainAudioIo *io,
                            GError **error)
{
    if (io->fixed_settings == TRI_YES && io->mixing_engine != TRI_YES) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<audio id='%u'>: <%s fixedSettings='yes'> needs mixingEngine='yes'",
                       (unsigned)audio->id.value, element);
        return false;
    }
    if (io->has_settings && io->fixed_settings != TRI_YES) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<audio id='%u'>: <settings> in <%s> need fixedSettings='yes'",
                       (unsigned)audio->id.value, element);
        return false;
    }
    return true;
}

static bool has_spice(const DomainDef *def)
{
    const XmlList *list = DEVICES(def, DEVICE_GRAPHICS);
    for (unsigned i = 0; i < list->count; i++) {
        if (((const DomainGraphics *)list->item[i])->type == GRAPHICS_SPICE) {
            return true;
        }
    }
    return false;
}

static unsigned count_with_id(const DomainDef *def, uint64_t id)
{
    const XmlList *list = DEVICES(def, DEVICE_AUDIO);
    unsigned n = 0;
    for (unsigned i = 0; i < list->count; i++) {
        n += ((const DomainAudio *)list->item[i])->id.value == id;
    }
    return n;
}

/* @id: as an <audio id=> within a device. */
static bool check_reference(const DomainDef *def, const OptUint *id, GError **error)
{
    if (id->set && count_with_id(def, id->value) == 0) {
        conf_error_set(error, CONF_ERROR_XML, "no <audio> has the id %" G_GUINT64_FORMAT,
                       id->value);
        return false;
    }
    return true;
}

bool domain_def_check_audio(const DomainDef *def, GError **error)
{
    const XmlList *list = DEVICES(def, DEVICE_AUDIO);
    for (unsigned i = 0; i < list->count; i++) {
        const DomainAudio *audio = list->item[i];
        if (count_with_id(def, audio->id.value) > 1) {
            conf_error_set(error, CONF_ERROR_XML, "two <audio> have the id %" G_GUINT64_FORMAT,
                           audio->id.value);
            return false;
        }
        if (audio->type == AUDIO_SPICE && !has_spice(def)) {
            conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                           "<audio type='spice'> needs <graphics type='spice'>");
            return false;
        }
        if (!check_direction(audio, "input", &audio->input, error) ||
            !check_direction(audio, "output", &audio->output, error)) {
            return false;
        }
    }
    const XmlList *sounds = DEVICES(def, DEVICE_SOUND);
    for (unsigned i = 0; i < sounds->count; i++) {
        if (!check_reference(def, &((const DomainSound *)sounds->item[i])->audio_id, error)) {
            return false;
        }
    }
    const XmlList *screens = DEVICES(def, DEVICE_GRAPHICS);
    for (unsigned i = 0; i < screens->count; i++) {
        if (!check_reference(def, &((const DomainGraphics *)screens->item[i])->audio_id, error)) {
            return false;
        }
    }
    return true;
}
