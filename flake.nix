# Builds nolapse with Nix, and a Home Manager module: `services.nolapse.enable = true`. Version and address are those of Cargo.toml.
{
  description = "Keeps Claude Code logins alive, and warns you in time when you must sign in again";

  inputs.nixpkgs.url = "nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      manifest = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).package;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forEach = nixpkgs.lib.genAttrs systems;
      build =
        pkgs:
        pkgs.rustPlatform.buildRustPackage {
          pname = manifest.name;
          inherit (manifest) version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          nativeBuildInputs = [ pkgs.installShellFiles ];
          # the tests start real agents, mail servers and the like
          doCheck = false;
          postInstall = ''
            mkdir man
            $out/bin/nolapse man --dir man
            installManPage man/*.1
            installShellCompletion --cmd nolapse \
              --bash <($out/bin/nolapse completions bash) \
              --fish <($out/bin/nolapse completions fish) \
              --zsh <($out/bin/nolapse completions zsh)
          '';
          meta = {
            inherit (manifest) description;
            homepage = manifest.repository;
            license = nixpkgs.lib.licenses.mit;
            mainProgram = "nolapse";
          };
        };
    in
    {
      packages = forEach (system: rec {
        nolapse = build nixpkgs.legacyPackages.${system};
        default = nolapse;
      });

      homeModules.default =
        {
          config,
          lib,
          pkgs,
          ...
        }:
        let
          cfg = config.services.nolapse;
          toml = pkgs.formats.toml { };
        in
        {
          options.services.nolapse = {
            enable = lib.mkEnableOption "nolapse, which keeps Claude Code logins alive";
            package = lib.mkOption {
              type = lib.types.package;
              default = self.packages.${pkgs.stdenv.hostPlatform.system}.nolapse;
              description = "The package to use.";
            };
            settings = lib.mkOption {
              inherit (toml) type;
              default = { };
              example.channel = [
                {
                  type = "ntfy";
                  topic_file = "~/.config/nolapse/ntfy-topic";
                }
              ];
              description = ''
                The configuration, see docs/configuration.md. Secrets belong into files of mode 600 (`…_file`): what
                stands here can be read by everybody on this machine.
              '';
            };
          };

          config = lib.mkIf cfg.enable {
            home.packages = [ cfg.package ];
            xdg.configFile."nolapse/config.toml" = lib.mkIf (cfg.settings != { }) {
              source = toml.generate "nolapse.toml" cfg.settings;
            };
            systemd.user.services.nolapse = {
              Unit.Description = "Claude Code logins: one pass of nolapse";
              Service = {
                Type = "oneshot";
                ExecStart = "${lib.getExe cfg.package} run";
                # as contrib/systemd has it, which says why
                SuccessExitStatus = "1 2";
                Environment = "PATH=%h/.local/bin:%h/.nix-profile/bin:/etc/profiles/per-user/%u/bin:/run/current-system/sw/bin:/usr/bin:/bin";
                KillMode = "process";
                TimeoutStartSec = "10min";
                TimeoutStopSec = "2min";
                Nice = 10;
                NoNewPrivileges = true;
                UMask = "0077";
              };
            };
            systemd.user.timers.nolapse = {
              Unit.Description = "Claude Code logins: a pass of nolapse every 4 minutes";
              Timer = {
                OnCalendar = "*:0/4";
                RandomizedDelaySec = "30s";
                AccuracySec = "15s";
                Persistent = true;
              };
              Install.WantedBy = [ "timers.target" ];
            };
          };
        };
    };
}
