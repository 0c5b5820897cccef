# The leash of one Postgres server: prepares its data, runs it, and ends it when whoever started this script
# is gone, which it learns from the end of its standard input. POSIX sh; runs in a process group of its own.
#
# Descriptors it is given: 0 a pipe whose other end only the starter holds; 1 the lock on a kept data
# directory (locked for as long as anything here has it open), or nothing; 2 a pipe for last words.
bin=$1       # where initdb and postgres are
data=$2      # the data directory; made if it is not there
log=$3       # what they all say
signal=$4    # how to stop Postgres: INT is a tidy stop, QUIT an instant one
scratch=$5   # a directory to make first and remove last; '' for none
template=$6  # an archive of a fresh data directory to unpack instead of running initdb; '' for none
save=$7      # where to write such an archive; '' for nowhere
sync=$8      # '--no-sync', or ''
shift 8      # what is left are arguments to postgres

umask 077
exec 3<&0 4>&2 5>&1 </dev/null

finish() {
    # The reader below, and whatever else of our process group may be left; not ourselves.
    trap '' HUP INT TERM
    kill -s TERM 0
    tail -c 4000 "$log" >&4 2>/dev/null
    # Postgres may leave a straggler that still writes for a moment after an instant stop.
    [ -z "$scratch" ] || rm -rf "$scratch" || { sleep 1; rm -rf "$scratch"; }
}

[ -z "$scratch" ] || mkdir "$scratch" || exit 1
trap finish EXIT
exec >"$log" 2>&1

stopping=
server=
trap 'stopping=1; [ -z "$server" ] || kill -s "$signal" "$server"' HUP INT TERM

# Repeated, because a signal that comes before Postgres is ready for it is lost: a shell's background
# command begins with INT and QUIT ignored.
( while read -r _; do :; done; while kill -s TERM $$; do sleep 1; done ) <&3 4>&- 5>&- &
exec 3<&-

make_data() {
    if [ -n "$template" ]; then
        mkdir "$data.new" && tar -xf "$template" -C "$data.new" && return
        # Damaged: the next server makes another.
        rm -rf "$data.new" "$template"
    fi
    # Not every machine has C.UTF-8, which knows upper and lower case beyond ASCII. $sync is no word when empty.
    for locale in C.UTF-8 C; do
        "$bin/initdb" -D "$data.new" -U postgres --auth=trust --encoding=UTF8 --locale="$locale" \
            --lc-messages=C $sync 4>&- && break
        rm -rf "$data.new"
    done
    [ -d "$data.new" ] || return
    # Without the archive the next server takes longer, and that is all.
    [ -z "$save" ] || tar -cf "$save" -C "$data.new" . || rm -f "$save"
    return 0
}

# Under another name until it is whole: what an earlier end left half done is made again.
if [ ! -d "$data" ]; then
    rm -rf "$data.new"
    make_data && mv "$data.new" "$data" || exit 1
fi
[ -z "$stopping" ] || exit 0

"$bin/postgres" -D "$data" "$@" 4>&- &
server=$!
[ -z "$stopping" ] || kill -s "$signal" "$server"
while :; do
    # A signal to us ends the wait and not yet Postgres.
    wait "$server"
    status=$?
    kill -s 0 "$server" 2>/dev/null || break
done
exit "$status"
