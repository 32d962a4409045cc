# bash completion for lodge-img: what it offers is asked of the program.
# SPDX-License-Identifier: GPL-2.0-or-later
_lodge_img() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]} words
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        words=$("$program" --help 2>/dev/null | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }')
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -W "$words --help --version" -- "$current"))
        return
    fi
    case $previous in
    -f | -F | -O)
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -W "raw qcow2 vdi vmdk vpc vhdx qcow" -- "$current"))
        return
        ;;
    -t | -T)
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -W "none writeback writethrough directsync unsafe" -- "$current"))
        return
        ;;
    esac
    case $current in
    --output=*)
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -W "human json" -- "${current#--output=}"))
        ;;
    -*)
        words=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null |
            awk '/^  -/ { for (i = 1; i <= 2; i++) if ($i ~ /^-/) { sub(/[,=].*/, "", $i); print $i } }')
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -W "$words" -- "$current"))
        ;;
    *)
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -f -- "$current"))
        ;;
    esac
}
complete -o default -F _lodge_img lodge-img
