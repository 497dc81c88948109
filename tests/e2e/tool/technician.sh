#!/bin/sh
# What a technician does at night, over ssh, when a kiosk delivers no feedback any more:
# looks why, puts the new key into place, sends what waited, and checks that all is well.
#
#   technician.sh FILE_WITH_THE_NEW_KEY        (AGENTSIGHT_OUTBOX and ..._API_ENDPOINT are set)
set -eu

# value NAME: a number or a word of `status --json`; no program but sed needed on a kiosk.
value() {
    agentsight-outbox status --json | sed -n "s/.*\"$1\":\"\{0,1\}\([a-z0-9_]*\).*/\1/p"
}

reason=$(value reason)
waiting=$(value waiting)
echo "held: $reason, $waiting waiting"
[ "$reason" = credential_refused ] || exit 1
agentsight-outbox status

agentsight-outbox drain --credential-file "$1" --deadline 30s

[ "$(value waiting)" -eq 0 ]
[ "$(value dead)" -eq 0 ]
agentsight-outbox verify
echo "delivered: $(value delivered)"
