/* One function and one table of options for each command; command-table.c lists them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_COMMANDS_H
#define LODGE_IMG_COMMANDS_H

#include "img/command.h"

extern const ImgOption img_amend_options[];
int img_amend(const ImgArgs *args);
extern const ImgOption img_bench_options[];
int img_bench(const ImgArgs *args);
extern const ImgOption img_bitmap_options[];
int img_bitmap(const ImgArgs *args);
extern const ImgOption img_check_command_options[];
int img_check(const ImgArgs *args);
extern const ImgOption img_commit_options[];
int img_commit(const ImgArgs *args);
extern const ImgOption img_compare_options[];
int img_compare(const ImgArgs *args);
extern const ImgOption img_convert_options[];
int img_convert(const ImgArgs *args);
extern const ImgOption img_create_options[];
int img_create(const ImgArgs *args);
extern const ImgOption img_dd_options[];
int img_dd(const ImgArgs *args);
extern const ImgOption img_info_options[];
int img_info(const ImgArgs *args);
extern const ImgOption img_map_options[];
int img_map(const ImgArgs *args);
extern const ImgOption img_measure_options[];
int img_measure(const ImgArgs *args);
extern const ImgOption img_rebase_options[];
int img_rebase(const ImgArgs *args);
extern const ImgOption img_resize_options[];
int img_resize(const ImgArgs *args);
extern const ImgOption img_serve_options[];
int img_serve(const ImgArgs *args);
extern const ImgOption img_snapshot_options[];
int img_snapshot(const ImgArgs *args);

#endif
