/* All commands. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/commands.h"

const ImgCommand img_commands[] = {
    { "amend", "Change options of an image", "filename", img_amend_options, img_amend },
    { "bench", "Measure reads or writes of an image", "filename", img_bench_options, img_bench },
    { "check", "Look for errors in an image, and mend them", "filename", img_check_command_options,
      img_check },
    { "commit", "Write an image's changes into its backing file", "filename", img_commit_options,
      img_commit },
    { "compare", "Compare the content of two images", "filename1 filename2", img_compare_options,
      img_compare },
    { "convert", "Copy images to a new one, in any format",
      "filename [filename2 ...] output_filename", img_convert_options, img_convert },
    { "create", "Make an empty image", "filename [size]", img_create_options, img_create },
    { "dd", "Copy blocks of an image to a new one", "if=input of=output [bs=] [count=] [skip=]",
      img_dd_options, img_dd },
    { "info", "Describe an image", "filename", img_info_options, img_info },
    { "map", "Show where an image's content lies", "filename", img_map_options, img_map },
    { "measure", "Tell how large a converted image would be", "[filename]", img_measure_options,
      img_measure },
    { "rebase", "Give an image another backing file", "filename", img_rebase_options, img_rebase },
    { "resize", "Change the size of the disk", "filename [+|-]size", img_resize_options,
      img_resize },
    { "serve", "Offer an image to NBD clients", "filename", img_serve_options, img_serve },
    { "snapshot", "Work on snapshots inside an image", "filename", img_snapshot_options,
      img_snapshot },
    {},
};
