# bash completion for lodge: what it offers is asked of the program.
# SPDX-License-Identifier: GPL-2.0-or-later
_lodge() {
    local program=${COMP_WORDS[0]} line=${COMP_LINE:0:COMP_POINT} current='' word connect=() typed=() words=() offers
    # Not COMP_WORDS: bash takes URIs and MAC addresses apart at their colons.
    read -ra typed <<<"$line"
    if [[ $line != *[[:space:]] ]]; then
        current=${typed[-1]}
        unset 'typed[-1]'
    fi
    local -i i=1
    while ((i < ${#typed[@]})); do
        word=${typed[i]}
        case $word in
        -c | --connect)
            connect=(-c "${typed[i + 1]}")
            i+=1
            ;;
        -*) [ ${#words[@]} -eq 0 ] || words+=("$word") ;;
        *) words+=("$word") ;;
        esac
        i+=1
    done
    mapfile -t offers < <("$program" "${connect[@]}" --complete -- "${words[@]}" "$current" 2>/dev/null)
    # What stands before the last colon is a word of its own to bash.
    [[ $current == *:* ]] && offers=("${offers[@]#"${current%:*}:"}")
    COMPREPLY=("${offers[@]}")
}
complete -o default -F _lodge lodge
