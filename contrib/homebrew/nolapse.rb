# For a tap, as `Formula/nolapse.rb` there. `scripts/release` fills in version, address and sum.
class Nolapse < Formula
  desc "Keeps Claude Code logins alive, and warns you in time when you must sign in again"
  homepage "@REPOSITORY@"
  url "@REPOSITORY@/releases/download/v@VERSION@/nolapse-v@VERSION@-source.tar.gz"
  sha256 "@SHA256_SOURCE@"
  license "MIT"

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args
    generate_completions_from_executable(bin/"nolapse", "completions")
    man1.mkpath
    system bin/"nolapse", "man", "--dir", man1
  end

  service do
    run [opt_bin/"nolapse", "daemon"]
    keep_alive true
    log_path var/"log/nolapse.log"
    error_log_path var/"log/nolapse.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/nolapse --version")
    assert_match "claude", shell_output("#{bin}/nolapse demo")
  end
end
