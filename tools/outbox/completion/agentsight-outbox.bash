# Completion of agentsight-outbox for bash.
# shellcheck shell=bash

_agentsight_outbox_flags() {
    local filters="--state --conversation-id --conversation --since"
    printf '%s' "--outbox --json --help "
    case $1 in
    submit) printf '%s' "--conversation-id --conversation --sentiment --comment --metadata --id" ;;
    drain) printf '%s' "--deadline --connections --reconcile-after --endpoint --credential-file" ;;
    list) printf '%s' "$filters --limit --after --reveal" ;;
    show) printf '%s' "--reveal" ;;
    watch) printf '%s' "--every --count" ;;
    requeue | discard) printf '%s' "$filters --all --force --yes" ;;
    resolve) printf '%s' "--delivered --server-id --resend" ;;
    export) printf '%s' "$filters --limit --after" ;;
    purge) printf '%s' "--delivered-before --yes" ;;
    esac
}

_agentsight_outbox() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local verb="" words=""
    COMPREPLY=()
    [ "$COMP_CWORD" -lt 2 ] || verb=${COMP_WORDS[1]}
    case $previous in
    --outbox | --credential-file)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --state) words="waiting claimed delivered unknown dead discarded" ;;
    --sentiment) words="positive neutral negative" ;;
    --conversation-id | --conversation | --comment | --metadata | --id | --deadline | \
        --connections | --reconcile-after | --endpoint | --since | --limit | --after | \
        --every | --count | --server-id | --delivered-before)
        return # a value that only the person knows
        ;;
    *)
        if [ -z "$verb" ]; then
            words="submit import drain status list show watch requeue discard resolve hold release"
            words="$words export verify salvage compact purge metrics --help --version"
        elif [[ $current == -* || $verb != import ]]; then
            words=$(_agentsight_outbox_flags "$verb")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -o filenames -F _agentsight_outbox agentsight-outbox
