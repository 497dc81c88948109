# Completion of agentsight-outbox for fish.

set -l outbox agentsight-outbox
set -l verbs submit import drain status list show watch requeue discard resolve hold release export verify salvage compact purge metrics

complete -c $outbox -f
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -l version -d 'Version'
complete -c $outbox -l help -d 'Help'

complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a submit -d 'Commit one feedback'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a import -d 'Commit one feedback for each line of a file'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a drain -d 'Send until nothing waits'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a status -d 'What is in the outbox, and what holds it up'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a list -d 'Records, oldest first'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a show -d 'One record and its attempts'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a watch -d 'The outbox live'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a requeue -d 'Send dead records again'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a discard -d 'Give records up and erase their text'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a resolve -d 'Settle an unknown record by hand'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a hold -d 'Stop sending, durably'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a release -d 'Start sending again'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a export -d 'Records as JSON, one a line'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a verify -d 'Check the file and the ledger'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a salvage -d 'Rescue what is readable of a damaged file'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a compact -d 'Give unused space back'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a purge -d 'Remove old history'
complete -c $outbox -n "not __fish_seen_subcommand_from $verbs" -a metrics -d 'Prometheus text'

complete -c $outbox -n "__fish_seen_subcommand_from $verbs" -l outbox -r -F -d 'The outbox file'
complete -c $outbox -n "__fish_seen_subcommand_from $verbs" -l json -d 'Print JSON'

set -l filtered list requeue discard export
complete -c $outbox -n "__fish_seen_subcommand_from $filtered" -l state -x -a 'waiting claimed delivered unknown dead discarded' -d 'Only those in this state'
complete -c $outbox -n "__fish_seen_subcommand_from $filtered" -l conversation-id -x -d 'Only of this conversation (business id)'
complete -c $outbox -n "__fish_seen_subcommand_from $filtered" -l conversation -x -d 'Only of this conversation (database id)'
complete -c $outbox -n "__fish_seen_subcommand_from $filtered" -l since -x -d 'Only those submitted at or after'

complete -c $outbox -n "__fish_seen_subcommand_from submit" -l conversation-id -x -d 'The conversation (business id)'
complete -c $outbox -n "__fish_seen_subcommand_from submit" -l conversation -x -d 'The conversation (database id)'
complete -c $outbox -n "__fish_seen_subcommand_from submit" -l sentiment -x -a 'positive neutral negative' -d 'The sentiment'
complete -c $outbox -n "__fish_seen_subcommand_from submit" -l comment -x -d 'The comment'
complete -c $outbox -n "__fish_seen_subcommand_from submit" -l metadata -x -d 'A JSON object'
complete -c $outbox -n "__fish_seen_subcommand_from submit" -l id -x -d 'A UUID of your own'
complete -c $outbox -n "__fish_seen_subcommand_from import" -F
complete -c $outbox -n "__fish_seen_subcommand_from drain" -l deadline -x -d 'Give up after so long'
complete -c $outbox -n "__fish_seen_subcommand_from drain" -l connections -x -d 'So many at a time'
complete -c $outbox -n "__fish_seen_subcommand_from drain" -l reconcile-after -x -d 'How long a row may take to appear'
complete -c $outbox -n "__fish_seen_subcommand_from drain" -l endpoint -x -d 'The URL of the API'
complete -c $outbox -n "__fish_seen_subcommand_from drain" -l credential-file -r -F -d 'A file with the credential'
complete -c $outbox -n "__fish_seen_subcommand_from list export" -l limit -x -d 'At most so many'
complete -c $outbox -n "__fish_seen_subcommand_from list export" -l after -x -d 'Only those behind this record'
complete -c $outbox -n "__fish_seen_subcommand_from list show" -l reveal -d 'Show comments and metadata'
complete -c $outbox -n "__fish_seen_subcommand_from watch" -l every -x -d 'Look every so often'
complete -c $outbox -n "__fish_seen_subcommand_from watch" -l count -x -d 'End after so many looks'
complete -c $outbox -n "__fish_seen_subcommand_from requeue discard" -l all -d 'All that the filters leave'
complete -c $outbox -n "__fish_seen_subcommand_from requeue discard" -l force -d 'Unknown records too'
complete -c $outbox -n "__fish_seen_subcommand_from requeue discard purge" -l yes -d 'Do not ask'
complete -c $outbox -n "__fish_seen_subcommand_from resolve" -l delivered -d 'It did arrive'
complete -c $outbox -n "__fish_seen_subcommand_from resolve" -l server-id -x -d 'As this row'
complete -c $outbox -n "__fish_seen_subcommand_from resolve" -l resend -d 'Send it again'
complete -c $outbox -n "__fish_seen_subcommand_from purge" -l delivered-before -x -d 'Before when'
