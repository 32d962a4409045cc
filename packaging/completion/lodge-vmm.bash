# bash completion for lodge-vmm: what it offers is asked of the program.
# SPDX-License-Identifier: GPL-2.0-or-later
_lodge_vmm() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]}
    COMPREPLY=()
    case $previous in
    -device | -machine | -cpu | -accel | -netdev | -chardev | -object | --device | --machine | --cpu | --accel | --netdev | --chardev | --object)
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -W "$("$program" "$previous" help 2>/dev/null | awk '/^  / { print $1 }')" -- "$current"))
        return
        ;;
    -kernel | -initrd | -bios | -pidfile | --kernel | --initrd | --bios | --pidfile)
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -f -- "$current"))
        return
        ;;
    esac
    # shellcheck disable=SC2207
    COMPREPLY=($(compgen -W "$("$program" -help 2>/dev/null | awk '/^  -/ { print $1 }')" -- "$current"))
}
complete -o default -F _lodge_vmm lodge-vmm
