#!/bin/sh
# Registers an executor version and moves a channel to it, with nothing but curl (and openssl, to sign). Every step may be
# repeated: what is done already stays as it is. `tidemill executors push` does the same.
#
#   push.sh FILE VERSION [PLATFORM]        linux-amd64 is the platform unless it is given
#
#   TIDEMILL_SERVER   https://tidemill.example.com
#   TIDEMILL_TOKEN    a token with the role deployer
#   CA_FILE           certificates of the authority that signed the server's, if it is one of your own
#   SIGN_KEY          file with an Ed25519 private key (PEM, PKCS#8); without it the upload is not signed
#   CHANNEL           channel to move; without it the version is registered only
#   ROLLOUT           a rollout's plan in JSON, {} for one with all defaults; without it the channel moves at once
#   WAIT              seconds to wait for the rollout's end; without it nothing is waited for
#   POLL              seconds between two looks at it, 5 unless given
#   RETRIES           how often a change is repeated while no answer comes, each time twice as long after the last one,
#                     8 unless given: four minutes
#
# Exit codes: 0 done, with WAIT: the channel points at the version; 1 refused; 2 wrong use; 3 the server cannot be
# reached; 4 the rollout was taken back or aborted; 5 it is paused; 6 not decided within WAIT seconds; 130 interrupted.
set -eu
umask 077

stop() { # stop CODE TEXT
	printf 'push.sh: %s\n' "$2" >&2
	exit "$1"
}

[ $# -ge 2 ] && [ $# -le 3 ] && [ -n "$2" ] || stop 2 "usage: push.sh FILE VERSION [PLATFORM]"
file=$1 version=$2 platform=${3:-linux-amd64}
: "${CHANNEL:=}" "${ROLLOUT:=}" "${WAIT:=}" "${SIGN_KEY:=}" "${CA_FILE:=}" "${TIDEMILL_TOKEN:=}" "${POLL:=5}" "${RETRIES:=8}"
[ -n "${TIDEMILL_SERVER:-}" ] || stop 2 "TIDEMILL_SERVER is not set"
[ -r "$file" ] || stop 2 "cannot read $file"
[ -z "$SIGN_KEY" ] || [ -r "$SIGN_KEY" ] || stop 2 "cannot read the key $SIGN_KEY"
case ${SIGN_KEY:+$(ls -ldL -- "$SIGN_KEY" | cut -c 8-10)} in
'' | --- | --T) ;;
*) stop 2 "$SIGN_KEY: everybody on this machine can use it, make it 0600 or 0640" ;;
esac
[ -n "$CHANNEL" ] || [ -z "$ROLLOUT$WAIT" ] || stop 2 "ROLLOUT and WAIT need a CHANNEL"
case $WAIT$POLL$RETRIES in *[!0-9]*) stop 2 "WAIT, POLL and RETRIES are whole numbers" ;; esac

# They become parts of URLs, in which curl would take some characters for its own.
name() { case $2 in [!A-Za-z0-9]* | *[!A-Za-z0-9._+-]*) stop 2 "$1 is '$2': want letters, digits and . _ + -" ;; esac }
name VERSION "$version"
name PLATFORM "$platform"
name CHANNEL "$CHANNEL"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'stop 130 "interrupted${waiting:-}"' INT TERM

# Others see a command line, so the token goes in a file.
[ -z "$TIDEMILL_TOKEN" ] || printf 'header = "Authorization: Bearer %s"\n' "$TIDEMILL_TOKEN" >"$dir/curlrc"
[ -z "$CA_FILE" ] || printf 'cacert = "%s"\n' "$CA_FILE" >>"$dir/curlrc"
touch "$dir/curlrc"

# request PATH CURL-OPTION... leaves the answer in $dir/answer and its status in $status; 000 if none came.
request() {
	path=$1
	shift
	status=$(curl -sS -K "$dir/curlrc" -o "$dir/answer" -w '%{http_code}' "$@" "${TIDEMILL_SERVER%/}$path" 2>"$dir/error") || status=000
}

# change PATH CURL-OPTION... is a request that is repeated while no answer comes, or one that may pass (429, 5xx).
change() {
	request "$@" --retry "$RETRIES" --retry-all-errors
	case $status in
	2??) ;;
	000) stop 3 "cannot reach $TIDEMILL_SERVER: $(head -n 1 "$dir/error")$(hint)" ;;
	400)
		! grep -q 'HTTP request to an HTTPS server' "$dir/answer" ||
			stop 3 "cannot reach $TIDEMILL_SERVER: it speaks TLS, so its address begins with https://"
		stop 1 "$(problem)"
		;;
	401) stop 1 "$(problem); it is taken from TIDEMILL_TOKEN" ;;
	403) stop 1 "$(problem)$(! grep -q X-Signature "$dir/answer" || printf '; SIGN_KEY names the private key to sign with')" ;;
	409) conflict ;;
	*) stop 1 "$(problem)" ;;
	esac
}

# hint says what helps against a certificate that is not trusted.
hint() { ! grep -q certificate "$dir/error" || printf '; CA_FILE names the authorities to trust'; }

# text FIELD and number FIELD give the first such field of the answer; in a channel these are its own and its rollout's.
text() { grep -Eo "\"$1\": ?\"([^\"\\\\]|\\\\.)*\"" "$dir/answer" | head -n 1 | sed -e "s/^\"$1\": *\"//" -e 's/"$//' -e 's/\\\(["\\/]\)/\1/g'; }
number() { grep -Eo "\"$1\": ?[0-9]+" "$dir/answer" | head -n 1 | grep -Eo '[0-9]+$'; }

# sample SIDE is how runs went on the old or the new version; the field is missing before the first.
sample() {
	grep -Eo "\"$1\": ?\{[^}]*\}" "$dir/answer" >"$dir/sample" || echo '"runs":0,"failed":0' >"$dir/sample"
	head -n 1 "$dir/sample" | sed -E 's/.*"runs": ?([0-9]+).*"failed": ?([0-9]+).*/\1 runs, \2 failed/'
}

# problem is what the server says of a request that it refuses, with the details that it has.
problem() {
	if ! grep -q '"detail"' "$dir/answer"; then
		printf 'the server answered %s' "$status"
		return
	fi
	grep -Eo '"(pointer|parameter|detail)": ?"([^"\\]|\\.)*"' "$dir/answer" | sed -E -e 's/^"[a-z]+": ?"//' -e 's/"$//' -e '/^$/d' -e 's/\\(["\\/])/\1/g' | paste -s -d '|' - | sed 's/|/; /g'
}

# conflict ends a job that is repeated as it ended the first time, when the rollout was taken back.
conflict() {
	why=$(problem)
	if [ "$path" = "/v1/channels/$CHANNEL" ]; then
		request "/v1/channels/$CHANNEL"
		if [ "$(text state)" = taken_back ] && [ "$(text to)" = "$version" ]; then
			stop 4 "$why"
		fi
	fi
	stop 1 "$why"
}

sum=$(sha256sum "$file" | cut -d ' ' -f 1)
set -- -T "$file" -H "Content-Type: application/octet-stream" -H "X-Checksum-Sha256: $sum"
if [ -n "$SIGN_KEY" ]; then
	printf 'tidemill executor\nsha256:%s\n' "$sum" >"$dir/text"
	openssl pkeyutl -sign -rawin -inkey "$SIGN_KEY" -in "$dir/text" -out "$dir/signature" 2>"$dir/error" ||
		stop 2 "cannot sign with $SIGN_KEY: $(head -n 1 "$dir/error")"
	[ "$(wc -c <"$dir/signature")" -eq 64 ] ||
		stop 2 "cannot sign with $SIGN_KEY: it is no Ed25519 key; make one with: openssl genpkey -algorithm ed25519 -out NEW.pem"
	set -- "$@" -H "X-Signature-Ed25519: $(openssl base64 -A -in "$dir/signature")"
fi
change "/v1/executors/$version/$platform" "$@"
if [ "$status" = 201 ]; then
	echo "executor version $version for $platform is registered"
else
	echo "executor version $version for $platform was there already"
fi
[ -n "$CHANNEL" ] || exit 0

body="{\"version\": \"$version\"${ROLLOUT:+, \"rollout\": $ROLLOUT}}"
change "/v1/channels/$CHANNEL" -X PUT -H "Content-Type: application/json" -d "$body"
if [ "$(text version)" = "$version" ]; then
	echo "channel $CHANNEL points at $version"
	exit 0
fi
rollout=$(number number) || stop 1 "channel $CHANNEL points at $(text version), and no rollout moves it to $version"
echo "channel $CHANNEL moves to $version by rollout $rollout"
[ -n "$WAIT" ] || exit 0

waiting=", rollout $rollout goes on"
begin=$(date +%s)
answered=$begin
last=
while :; do
	request "/v1/channels/$CHANNEL" --max-time 30
	now=$(date +%s)
	case $status in
	2??)
		answered=$now
		current=$(number number || true)
		[ "${current:-0}" -le "$rollout" ] || stop 1 "rollout $current of channel $CHANNEL came after rollout $rollout"
		if [ "${current:-0}" -eq "$rollout" ]; then # less: an older state, from a standby
			state=$(text state)
			line="$state, step $(number step), $(number share) %; new: $(sample new); old: $(sample old)"
			[ "$line" = "$last" ] || echo "$line"
			last=$line
			case $state in
			running) ;;
			promoted)
				[ "$(text version)" = "$version" ] || stop 4 "the channel was moved again since, to $(text version)"
				echo "channel $CHANNEL points at $version"
				exit 0
				;;
			paused) stop 5 "rollout $rollout is paused: $(text reason)" ;;
			*) stop 4 "rollout $rollout is $state: $(text reason)" ;;
			esac
		fi
		;;
	000 | 429 | 5??) [ $((now - answered)) -le 600 ] || stop 3 "no answer from $TIDEMILL_SERVER for ten minutes$waiting" ;;
	*) stop 1 "$(problem)" ;;
	esac
	[ $((now - begin)) -lt "$WAIT" ] || stop 6 "not decided after $WAIT seconds: $(text waiting || true)$waiting"
	sleep "$POLL"
done
