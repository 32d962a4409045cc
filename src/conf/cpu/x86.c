/* Sets of x86 features.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpu/x86.h"

#include <string.h>

/* Whether @name is the first word of @word (which ends at a blank); '_' is '-'. */
static bool is_word(const char *word, const char *name)
{
    while (*name && (*word == *name || (strchr("-_", *word) && strchr("-_", *name)))) {
        if (!*word) {
            return false;
        }
        word++;
        name++;
    }
    return !*name && (!*word || *word == ' ');
}

int x86_feature_find(const char *name)
{
    for (unsigned i = 0; *name && i < x86_n_features; i++) {
        if (is_word(x86_features[i].name, name)) {
            return (int)i;
        }
        const char *alias = x86_features[i].aliases;
        while (alias) {
            if (is_word(alias, name)) {
                return (int)i;
            }
            alias = strchr(alias, ' ');
            alias = alias ? alias + 1 : NULL;
        }
    }
    return -1;
}

const X86Model *x86_model_find(const char *name)
{
    for (unsigned i = 0; i < x86_n_models; i++) {
        if (strcmp(x86_models[i].name, name) == 0) {
            return &x86_models[i];
        }
    }
    return NULL;
}

X86Set x86_set_and(const X86Set *a, const X86Set *b)
{
    X86Set out;
    for (unsigned i = 0; i < X86_FEATURE_WORDS; i++) {
        out.word[i] = a->word[i] & b->word[i];
    }
    return out;
}

X86Set x86_set_without(const X86Set *a, const X86Set *b)
{
    X86Set out;
    for (unsigned i = 0; i < X86_FEATURE_WORDS; i++) {
        out.word[i] = a->word[i] & ~b->word[i];
    }
    return out;
}

unsigned x86_set_count(const X86Set *set)
{
    unsigned n = 0;
    for (unsigned i = 0; i < X86_FEATURE_WORDS; i++) {
        n += (unsigned)__builtin_popcountll(set->word[i]);
    }
    return n;
}

char *x86_set_join(const X86Set *set)
{
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; i < x86_n_features; i++) {
        if (x86_set_has(set, i)) {
            g_string_append_printf(text, "%s%s", text->len ? ", " : "", x86_features[i].name);
        }
    }
    return g_string_free(text, FALSE);
}

void x86_set_from_cpuid(X86Set *set, X86Cpuid cpuid, void *opaque)
{
    *set = (X86Set){ 0 };
    for (unsigned i = 0; i < x86_n_features; i++) {
        const X86Feature *feature = &x86_features[i];
        uint32_t out[4] = { 0 };
        if (feature->source != X86_MSR) {
            cpuid(opaque, feature->leaf, feature->subleaf, out);
            x86_set_put(set, i, out[feature->source] >> feature->bit & 1);
        }
    }
}

const X86Model *x86_decode(const X86Set *features, const char *vendor, bool may_disable,
                           bool (*is_candidate)(void *opaque, const X86Model *model), void *opaque)
{
    const X86Model *best = NULL;
    unsigned best_words = 0;
    for (unsigned i = 0; i < x86_n_models; i++) {
        const X86Model *model = &x86_models[i];
        X86Set more = x86_set_without(features, &model->features);
        X86Set less = x86_set_without(&model->features, features);
        unsigned words = x86_set_count(&more) + x86_set_count(&less);
        if ((vendor && model->vendor && strcmp(vendor, model->vendor) != 0) ||
            (!may_disable && !x86_set_is_empty(&less)) ||
            (is_candidate && !is_candidate(opaque, model))) {
            continue;
        }
        if (!best || words < best_words) {
            best = model;
            best_words = words;
        }
    }
    return best;
}
