# bash completion for lodge: what it offers is asked of the program.
# SPDX-License-Identifier: GPL-2.0-or-later
_lodge() {
    local current=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]} word connect=() words=()
    local -i i=1
    while ((i < COMP_CWORD)); do
        word=${COMP_WORDS[i]}
        case $word in
        -c | --connect)
            connect=(-c "${COMP_WORDS[i + 1]}")
            i+=1
            ;;
        -*) [ ${#words[@]} -eq 0 ] || words+=("$word") ;;
        *) words+=("$word") ;;
        esac
        i+=1
    done
    mapfile -t COMPREPLY < <("$program" "${connect[@]}" --complete -- "${words[@]}" "$current" 2>/dev/null)
}
complete -o default -F _lodge lodge
