# shellcheck shell=bash disable=SC2034,SC2154  # variables and functions of Termux's build system
# The recipe for the Termux user repository, as `packages/nolapse/build.sh` there. `scripts/release` fills in version,
# address and sum.
TERMUX_PKG_HOMEPAGE=@REPOSITORY@
TERMUX_PKG_DESCRIPTION="Keeps Claude Code logins alive, and warns you in time when you must sign in again"
TERMUX_PKG_LICENSE="MIT"
TERMUX_PKG_MAINTAINER="@termux-user-repository"
TERMUX_PKG_VERSION=@VERSION@
TERMUX_PKG_SRCURL=@REPOSITORY@/releases/download/v${TERMUX_PKG_VERSION}/nolapse-v${TERMUX_PKG_VERSION}-source.tar.gz
TERMUX_PKG_SHA256=@SHA256_SOURCE@
TERMUX_PKG_BUILD_IN_SRC=true
TERMUX_PKG_AUTO_UPDATE=true
# the commands; the app Termux:API is installed by the person
TERMUX_PKG_DEPENDS="termux-api"
TERMUX_PKG_SUGGESTS="termux-services"
TERMUX_PKG_SERVICE_SCRIPT=("nolapse" "exec $TERMUX_PREFIX/bin/nolapse daemon 2>&1")

termux_step_pre_configure() {
	termux_setup_rust
}

termux_step_make() {
	cargo build --jobs "$TERMUX_PKG_MAKE_PROCESSES" --locked --release --target "$CARGO_TARGET_NAME"
}

termux_step_make_install() {
	install -Dm700 -t "$TERMUX_PREFIX/bin" "target/$CARGO_TARGET_NAME/release/nolapse"
	install -Dm600 -t "$TERMUX_PREFIX/share/doc/nolapse" contrib/config.example.toml
}

termux_step_post_make_install() {
	# made by a build for this machine, since the phone's does not run here
	unset CARGO_BUILD_TARGET RUSTFLAGS
	mkdir -p "$TERMUX_PREFIX"/share/{bash-completion/completions,zsh/site-functions,fish/vendor_completions.d,man/man1}
	cargo run --locked -- completions bash >"$TERMUX_PREFIX/share/bash-completion/completions/nolapse"
	cargo run --locked -- completions zsh >"$TERMUX_PREFIX/share/zsh/site-functions/_nolapse"
	cargo run --locked -- completions fish >"$TERMUX_PREFIX/share/fish/vendor_completions.d/nolapse.fish"
	cargo run --locked -- man --dir "$TERMUX_PREFIX/share/man/man1"
}
