/* Sizes for people. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/text.h"

#include <glib.h>
#include <math.h>

char *text_size(uint64_t bytes)
{
    static const char *const unit[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    /* Up to 999.5 of a unit, so that %.3g never needs an exponent. */
    int exponent = 0;
    frexp((double)bytes / (1000.0 / 1024.0), &exponent);
    unsigned index = exponent > 0 ? (unsigned)(exponent - 1) / 10 : 0;
    index = MIN(index, G_N_ELEMENTS(unit) - 1);
    return g_strdup_printf("%.3g %sB", (double)bytes / (double)(1ULL << (index * 10)), unit[index]);
}
