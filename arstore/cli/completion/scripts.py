"""The scripts that a shell loads: they ask the program for each word, and hand its answer to the shell.

They run the program as it was typed, with _ARSTORE_COMPLETE in the environment, and the words up to the
cursor as arguments.
"""

from __future__ import annotations

_BASH = r"""# Completion of arstore for bash: arstore completion bash
_arstore() {
    local typed=() word line rest=${COMP_LINE:0:COMP_POINT} at kind text help cut=
    # bash splits words at the characters of COMP_WORDBREAKS, such as the colon in app:1. Join them again.
    for ((at = 0; at <= COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if ((at == 0)) || [[ $rest == [[:space:]]* ]]; then
            rest=${rest#"${rest%%[![:space:]]*}"}
            typed+=("")
        fi
        [[ $rest == "$word"* ]] || word=$rest
        typed[${#typed[@]} - 1]+=$word
        rest=${rest#"$word"}
    done
    word=${typed[${#typed[@]} - 1]}
    # Words that are offered replace only the part after the last of these characters.
    if [[ $word != [\"\']* ]]; then
        for at in : =; do
            line=${word%"${word##*"$at"}"}
            [[ $COMP_WORDBREAKS == *"$at"* ]] && ((${#line} > ${#cut})) && cut=$line
        done
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        kind=${line%%$'\t'*} line=${line#*$'\t'}
        text=${line%%$'\t'*} help=${line#*$'\t'}
        case $kind in
            word) COMPREPLY+=("${text#"$cut"}") ;;
            part) COMPREPLY+=("${text#"$cut"}"); compopt -o nospace 2>/dev/null ;;
            files | directories)
                while IFS= read -r line; do
                    compopt -o filenames 2>/dev/null
                    # bash adds the slash itself only where the word alone is the path.
                    if [[ -n $text && -d $line ]]; then line+=/; compopt -o nospace 2>/dev/null; fi
                    line=$text$line
                    COMPREPLY+=("${line#"$cut"}")
                done < <(if [[ $kind == files ]]; then compgen -f -- "$help"; else compgen -d -- "$help"; fi) ;;
        esac
    done < <(_ARSTORE_COMPLETE=bash "${typed[0]/#\~/$HOME}" "${typed[@]:1}" 2>/dev/null)
    # A word that is complete gets its space although another candidate was only a part.
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} != *[:/=] ]]; then compopt +o nospace 2>/dev/null; fi
    return 0
}
complete -F _arstore arstore
"""

_ZSH = r"""#compdef arstore
# Completion of arstore for zsh: arstore completion zsh
_arstore() {
    local -a typed fields found parts
    local line
    typed=("${(@Q)words[1,CURRENT-1]}" "${(Q)${:-$IPREFIX$PREFIX}}")
    for line in "${(@f)$(_ARSTORE_COMPLETE=zsh ${typed[1]/#\~/$HOME} "${(@)typed[2,-1]}" 2>/dev/null)}"; do
        fields=("${(@ps:\t:)line}")
        case $fields[1] in
            word) found+=("${fields[2]//:/\\:}:$fields[3]") ;;
            part) parts+=("${fields[2]//:/\\:}:$fields[3]") ;;
            files | directories)
                [[ -n $fields[2] ]] && compset -P "${(b)fields[2]}"
                if [[ $fields[1] == files ]]; then _files; else _files -/; fi ;;
        esac
    done
    (($#found)) && _describe -t words 'word' found
    (($#parts)) && _describe -t parts 'prefix' parts -S ''
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _arstore "$@"
else
    compdef _arstore arstore
fi
"""

_FISH = r"""# Completion of arstore for fish: arstore completion fish
function __arstore_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    for line in (env _ARSTORE_COMPLETE=fish $typed "$current" 2>/dev/null)
        set -l fields (string split \t -- $line)
        switch $fields[1]
            case word part
                printf '%s\t%s\n' $fields[2] "$fields[3]"
            case files
                for path in (__fish_complete_path "$fields[3]")
                    printf '%s%s\n' "$fields[2]" $path
                end
            case directories
                __fish_complete_directories "$fields[3]" ''
        end
    end
end
complete -c arstore -f -a '(__arstore_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""The script for each shell."""
