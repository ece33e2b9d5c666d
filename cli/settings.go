package cli

// gateway config: every setting, for people and as the documentation's table.

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Setting is one environment variable.
type Setting struct {
	// Group is the heading under which it stands; the settings of a group follow one another.
	Group string
	Name  string
	// Value and Default are as one would write them; a secret's are masked by whoever prints.
	Value, Default string
	// FromEnvironment: it is set there, otherwise Value is the default.
	FromEnvironment bool
	Secret          bool
	// Doc is one sentence on what it means, with unit and bounds.
	Doc string
}

const secretMask = "***"

type configCommand struct {
	Markdown bool `help:"Print the reference for the documentation: names, defaults and meanings, no values."`
}

func (configCommand) Help() string {
	return `Prints every environment variable with its value, default, source and meaning. Secrets are never printed. Exits with 1 and one line per problem on stderr when a setting is wrong.

Examples:
  gateway config
  GRPC_PORT=99999 gateway config
  gateway config --markdown > docs/configuration.md`
}

// Run prints the settings, then what is wrong with them.
func (c configCommand) Run(p *Program) error {
	settings, problems := p.Settings()
	write := writeSettings
	if c.Markdown {
		write, problems = writeMarkdown, nil
	}
	if err := write(p.Stdout, settings); err != nil {
		return failed("printing the settings: %v", err)
	}
	for _, problem := range problems {
		fmt.Fprintln(p.Stderr, problem)
	}
	if len(problems) > 0 {
		return exitWith(exitFailed)
	}
	return nil
}

func (s Setting) shown(value string) string {
	switch {
	case value == "":
		return "-"
	case s.Secret:
		return secretMask
	}
	return value
}

func writeSettings(w io.Writer, settings []Setting) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "NAME\tVALUE\tDEFAULT\tSOURCE\tMEANING")
	for _, s := range settings {
		source := "default"
		if s.FromEnvironment {
			source = "environment"
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\n", s.Name, oneLine(s.shown(s.Value)), s.shown(s.Default), source, s.Doc)
	}
	return tab.Flush()
}

// oneLine keeps a value from breaking the table, or a terminal.
func oneLine(value string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, value)
}

const markdownIntro = `# Configuration

The gateway is configured by environment variables alone. This page is generated from the code by
` + "`gateway config --markdown`" + `; ` + "`gateway config`" + ` shows the values in force. A value that cannot be read, or that
contradicts another, stops the start with one line per problem. Durations are written like ` + "`250ms`, `10s` or `1h30m`" + `,
sizes in bytes or with ` + "`KiB`, `MiB` or `GiB`" + `, lists with commas. An empty variable counts as not set.
`

func writeMarkdown(w io.Writer, settings []Setting) error {
	var b strings.Builder
	b.WriteString(markdownIntro)
	group := ""
	for _, s := range settings {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n## %s\n\n| Variable | Default | Meaning |\n|---|---|---|\n", group)
		}
		value := ""
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, value, strings.ReplaceAll(s.Doc, "|", `\|`))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
