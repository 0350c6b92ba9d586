#!/bin/sh
# Stands in for Claude Code 2.1.330's `auth login --claudeai` (lines over pipes) and `setup-token` (a full screen drawn with
# cursor moves). $HOME/mode says how it goes, $HOME/token what it gives; a good code begins with `good`.
mode=$(cat "$HOME/mode" 2>/dev/null)
link='https://claude.ai/oauth/authorize?code=true&client_id=9d1c250a&redirect_uri=https%3A%2F%2Fplatform.claude.com%2Foauth%2Fcode%2Fcallback&state=STATE'
env >"$HOME/child-env"
echo "$*" >"$HOME/child-args"
case $mode in
crash) echo 'Segmentation fault in sk-ant-oat01-CANARY' >&2 && exit 7 ;;
mute) exec sleep 600 ;;
esac

login() {
    printf "Opening browser to sign in…\nIf the browser didn't open, visit:\n\n%s\n\nPaste code here if prompted > " "$link"
    [ "$mode" = crash-later ] && exit 7
    while read -r code; do
        case $code in
        good*\#*)
            [ "$mode" = slow ] && sleep 2
            read -r token <"$HOME/token"
            dir=${CLAUDE_CONFIG_DIR:-$HOME/.claude} end=
            [ "$mode" = dated ] && end="\"refreshTokenExpiresAt\":$(($(date +%s) + 2332800))000,"
            printf '{"claudeAiOauth":{"accessToken":"%s","refreshToken":"%s-refresh","expiresAt":%s,%s"scopes":["user:inference"]},"mcpOAuth":{"kept":1}}' \
                "$token" "$token" "$(($(date +%s) + 28800))000" "$end" >"$dir/.credentials.new"
            mv "$dir/.credentials.new" "$dir/.credentials.json"
            [ "$mode" = crash-at-the-end ] && exit 7
            echo 'Login successful.'
            exit 0
            ;;
        liar\#*) echo 'Login successful.' && exit 0 ;;
        *\#*) echo "Couldn't log in: Request failed with status code 400" && exit 1 ;;
        esac
        printf "That doesn't look like the full code. Copy all of it.\nPaste code here if prompted > "
    done
    # the end of its input is ignored
    exec sleep 600
}

setup_token() {
    [ -t 0 ] || exec sleep 600
    columns=$(stty size | cut -d' ' -f2)
    stty -echo
    printf '\033[?25l\033[2J\033[1;1HWelcome\033[1;9Hto\033[1;12HClaude\033[1;19HCode'
    printf '\033[3;1H\033]8;id=1;%s\007' "$link"
    printf '%s' "$link" | fold -w "$columns" | while read -r part; do printf '%s\r\n' "$part"; done
    printf '\033]8;;\007\033[20;1HPaste\033[20;7Hcode\033[20;12Hhere\033[20;17Hif\033[20;20Hprompted\033[20;29H>'
    [ "$mode" = crash-later ] && exit 7
    read -r code
    case $code in
    good*\#*) ;;
    *)
        printf '\033[22;1HOAuth\033[22;7Herror:\033[22;14HRequest\033[22;22Hfailed with status code 400'
        printf '\033[24;1HPress\033[24;7HEnter\033[24;13Hto\033[24;16Hretry'
        read -r code
        exit 0
        ;;
    esac
    [ "$mode" = crash-at-the-end ] && exit 7
    read -r token <"$HOME/token"
    printf '\033[2J\033[1;1HLong-lived\033[1;12Hauthentication\033[1;27Htoken\033[1;33Hcreated'
    printf '\033[3;1HYour\033[3;6HOAuth\033[3;12Htoken\033[3;18H(valid for 1 year):\033[5;1H'
    printf '%s' "$token" | fold -w "$columns" | while read -r part || [ -n "$part" ]; do
        rest=${part#????????????????????????????}
        printf '%s' "${part%"$rest"}"
        # a frame that is drawn in two pieces
        sleep 0.2
        printf '%s\r\n' "$rest"
    done
    printf '\033[9;1HStore\033[9;7Hthis\033[9;12Htoken securely.\r\n\033[?25h'
    exit 0
}

case $* in
'auth login --claudeai') login ;;
setup-token) setup_token ;;
*) exit 64 ;;
esac
