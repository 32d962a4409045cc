/* What a program that is asked as an engine answers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/host/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    Engine *engine = engine_new("/usr/bin/qemu-system-x86_64");
    if (engine_read_answers(engine, &engine->tcg, text, NULL)) {
        engine_read_answers(engine, &engine->kvm, text, NULL);
        engine_machine(engine, NULL);
        engine_machine(engine, "q35");
        engine_has_device(engine, "VGA");
    }
    engine_unref(engine);
    return 0;
}
