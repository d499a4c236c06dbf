// Package script reads and runs the part of the RouterOS scripting language
// that a management client needs.
//
// A whole line is parsed before any of it runs, and against the command tree
// ([Menu]) of the simulated version: an unknown menu, command, argument or
// option makes [Parse] fail and nothing is executed, as on the real console.
// A parsed [Program] then runs against a [Device].
//
// Where to look:
//
//   - schema.go: the command tree a parser checks against
//   - cursor.go: characters, words and columns
//   - statement.go, control.go: statements and the colon commands
//   - command.go: menu commands and their arguments
//   - function.go: [:len] and [:serialize]
//   - expression.go, where.go, text.go: values, filters, quoted strings
//   - run.go: what a running program needs; value.go and json.go: its values
package script
