package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// moveOutputs has the test write its files where the guest's init collects them. It returns the arguments to run it
// with, and where each file or folder belongs afterwards, by its name in the guest's folder /out.
func moveOutputs(args []string) (moved []string, outputs map[string]string) {
	outputs = map[string]string{}
	for _, arg := range args {
		for _, name := range []string{"coverprofile", "gocoverdir"} {
			if host, found := strings.CutPrefix(arg, "-test."+name+"="); found {
				outputs[name] = host
				arg = "-test." + name + "=/out/" + name
			}
		}
		moved = append(moved, arg)
	}
	return moved, outputs
}

// command is the script that the guest's init runs.
func (g guest) command() string {
	lines := append([]string{"export RDS_CSI_GUEST=1", "cd /tmp"}, g.link.commands()...)
	if _, covered := g.outputs["gocoverdir"]; covered {
		lines = append(lines, "mkdir /out/gocoverdir")
	}
	words := []string{"exec", "/guest/program"}
	for _, argument := range g.arguments {
		words = append(words, "'"+strings.ReplaceAll(argument, "'", `'\''`)+"'")
	}
	return strings.Join(append(lines, strings.Join(words, " ")), "\n") + "\n"
}

// writeInitrd makes the guest's file system: the base, and an archive of what this run adds to it.
func (g guest) writeInitrd() (err error) {
	program, err := os.ReadFile(g.program)
	if err != nil {
		return err
	}
	base, err := os.Open(filepath.Join(g.folder, "base.cpio"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	initrd, err := os.Create(g.initrd())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, initrd.Close()) }()
	if _, err := io.Copy(initrd, base); err != nil {
		return err
	}
	const folder, file = 0o040755, 0o100755
	return errors.Join(
		member(initrd, "guest", folder, nil),
		member(initrd, "guest/program", file, program),
		member(initrd, "guest/command", file, []byte(g.command())),
		member(initrd, "TRAILER!!!", 0, nil),
	)
}

func (g guest) initrd() string { return filepath.Join(g.work, "initrd") }

// member writes one file of a cpio archive in the format "newc", which the kernel documents in
// driver-api/early-userspace/buffer-format: name and content are padded to a multiple of four bytes each.
func member(w io.Writer, name string, mode int, content []byte) error {
	const links = 1
	pad := func(n int) string { return strings.Repeat("\x00", -n&3) }
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		0, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	for _, part := range []string{head, pad(len(head)), string(content), pad(len(content))} {
		if _, err := io.WriteString(w, part); err != nil {
			return err
		}
	}
	return nil
}
