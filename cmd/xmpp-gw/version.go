package main

import (
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is the release that CHANGELOG.md describes first.
const version = "0.1.0"

// versionInfo is the document of `version --json`.
type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified"` // the work tree had changes that no commit has
	Go       string `json:"go"`
	System   string `json:"system"`
}

func versionCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:  "version",
		Usage: "print the version",
		Flags: []cli.Flag{configFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			info := versionInfo{Version: version, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
			if build, ok := debug.ReadBuildInfo(); ok {
				for _, s := range build.Settings {
					switch s.Key {
					case "vcs.revision":
						info.Commit = s.Value
					case "vcs.modified":
						info.Modified = s.Value == "true"
					}
				}
			}
			if c.Bool("json") {
				return u.json(info)
			}
			u.printf("xmpp-gw %s\n", info.Version)
			if info.Commit != "" {
				changes := ""
				if info.Modified {
					changes = " with changes"
				}
				u.printf("commit %s%s\n", info.Commit, changes)
			}
			u.printf("%s %s\n", info.Go, info.System)
			return nil
		},
	})
}
