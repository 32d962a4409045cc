#compdef lodge
# zsh completion for lodge: what it offers is asked of the program.
# SPDX-License-Identifier: GPL-2.0-or-later
local -a offers words_before connect
local -i i=2
while (( i < CURRENT )); do
    case $words[i] in
    -c|--connect) connect=(-c "${(Q)words[i+1]}"); i+=1 ;;
    -*) (( $#words_before )) && words_before+=("${(Q)words[i]}") ;;
    *) words_before+=("${(Q)words[i]}") ;;
    esac
    i+=1
done
offers=(${(f)"$($words[1] $connect --complete -- $words_before "${(Q)words[CURRENT]}" 2>/dev/null)"})
if (( $#offers )); then
    compadd -a offers
else
    _files
fi
