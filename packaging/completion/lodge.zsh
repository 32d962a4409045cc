#compdef lodge
# zsh completion for lodge: what it offers is asked of the program.
# SPDX-License-Identifier: GPL-2.0-or-later
local -a offers words_before
words_before=(${words[2,CURRENT-1]:#-*})
offers=(${(f)"$(lodge --complete -- $words_before "${words[CURRENT]}" 2>/dev/null)"})
if (( $#offers )); then
    compadd -a offers
else
    _files
fi
