/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/main.c - the process of `hearth`. */
#include "client/cli/cli.h"

int main(int argc, char **argv) {
    hearth_cli_catch_signals();
    return hearth_cli_main(argc, argv, stdout, stderr);
}
