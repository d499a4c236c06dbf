package rds

import "strings"

// filePath is a path in RouterOS's file tree without a leading slash. /disk and /file spell the same path differently.
// Another driver compared the two spellings as text, and deleted live images. Here only this type turns into either.
type filePath string

func newFilePath(text string) filePath { return filePath(strings.TrimPrefix(text, "/")) }

// pool is the mount point of the filesystem that the file is on.
func (p filePath) pool() string {
	pool, _, _ := strings.Cut(string(p), "/")
	return pool
}

// inDisk is the path as /disk file-path has it.
func (p filePath) inDisk() string { return "/" + string(p) }

// inFile is the path as /file name has it.
func (p filePath) inFile() string { return string(p) }

const wantElement = "letters, digits, dots, underscores and dashes, not beginning with a dot or a dash"

func validElement(text string) bool {
	if text == "" || text[0] == '.' || text[0] == '-' {
		return false
	}
	for i := range len(text) {
		if !isAlphanumeric(text[i]) && !strings.ContainsRune("._-", rune(text[i])) {
			return false
		}
	}
	return true
}
