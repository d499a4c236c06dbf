// Package docs reads the commands in the pages of docs, so that tests run what people are told to run.
package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Blocks returns the fenced blocks of a page whose info string is this one, such as "sh", in their order. root is the path
// of the repository.
func Blocks(tb testing.TB, root, page, info string) []string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page)) //nolint:gosec // a page of this repository
	if err != nil {
		tb.Fatal(err)
	}
	var blocks []string
	for i, part := range strings.Split("\n"+string(text), "\n```") {
		head, block, _ := strings.Cut(part, "\n")
		if i%2 == 1 && head == info {
			blocks = append(blocks, block)
		}
	}
	if len(blocks) == 0 {
		tb.Fatalf("docs/%s has no block of %q", page, info)
	}
	return blocks
}
