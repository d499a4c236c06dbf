package rds

import (
	"fmt"
	"strings"
)

// Kind is what a command is for, as metrics name it.
type Kind string

// The kinds of commands.
const (
	KindGet       Kind = "get"
	KindList      Kind = "list"
	KindCreate    Kind = "create"
	KindPublish   Kind = "publish"
	KindUnpublish Kind = "unpublish"
	KindExpand    Kind = "expand"
	KindDelete    Kind = "delete"
	KindCapacity  Kind = "capacity"
	KindHealth    Kind = "health"
	KindInventory Kind = "inventory"
	KindProbe     Kind = "probe"
	KindCheck     Kind = "check"
	// KindSFTP is every operation on files that goes over SFTP rather than through a command.
	KindSFTP Kind = "sftp"
)

// Kinds are all of them, for metrics to declare.
func Kinds() []Kind {
	return []Kind{
		KindGet, KindList, KindCreate, KindPublish, KindUnpublish, KindExpand, KindDelete,
		KindCapacity, KindHealth, KindInventory, KindProbe, KindCheck, KindSFTP,
	}
}

// maxQuotedLength bounds one quoted text, in bytes: the longest is a record.
const maxQuotedLength = maxRecordLength

// command builds one line for the appliance. Text enters it through quoted alone, which refuses what isn't whitelisted.
// err is the first refusal. A line with one is never sent.
type command struct {
	kind       Kind
	nonce      string
	statements []string
	// asked are the markers that the reply must have before markerEnd, in this order. markerDone may be markerFailed there.
	asked []string
	// allPools says that the pools asked for are all that are mounted.
	allPools bool
	// mayBeMany is the asked marker that markerMany may stand for, or empty.
	mayBeMany string
	err       error
}

func newCommand(kind Kind) *command { return &command{kind: kind, nonce: randomToken()} }

// quoted returns text in RouterOS double quotes. Nothing on the whitelist needs an escape there: backslashes, quotes,
// dollar signs and control characters aren't on it.
func (c *command) quoted(text string) string {
	if err := checkQuotable(text); err != nil && c.err == nil {
		c.err = err
	}
	return `"` + text + `"`
}

// begins is the condition that a property begins with a text and goes on with a pattern, which is a constant. A dot in the text
// stands for any character, so the condition may match more than that.
func (c *command) begins(property, text, pattern string) string {
	quoted := c.quoted(text)
	return property + `~"^` + quoted[1:len(quoted)-1] + pattern + `"`
}

func checkQuotable(text string) error {
	if len(text) > maxQuotedLength {
		return &FieldError{Field: "text for the appliance", Value: text[:32] + "…", Want: fmt.Sprintf("at most %d bytes", maxQuotedLength)}
	}
	for i := range len(text) {
		if !isAlphanumeric(text[i]) && !strings.ContainsRune("._:/,=- ", rune(text[i])) {
			return &FieldError{Field: "text for the appliance", Value: text, Want: "letters, digits, spaces and . _ : / , = - only"}
		}
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// act adds statements that write. They run until the first that fails, and report that they were done or what RouterOS
// said. What follows them on the line runs in either case.
func (c *command) act(statements ...string) {
	c.add(markerDone, fmt.Sprintf(`:onerror e in={ %s; :put "%s-%s" } do={ :put ("%s-%s " . $e) }`,
		strings.Join(statements, "; "), c.nonce, markerDone, c.nonce, markerFailed))
}

func (c *command) add(marker, statement string) {
	c.asked = append(c.asked, marker)
	c.statements = append(c.statements, statement)
}

// show adds a read of the items of a menu ("/disk", "/file") that match the condition. In front of them stands how many
// there are, counted by find: a print that was cut looks like one that has no more. Both are evaluated in one statement,
// right after each other. An item that appears or vanishes in between makes the reply one that is read again.
func (c *command) show(marker, menu, properties, condition string) {
	c.put(marker, items(menu, properties, condition))
}

// items is the expression for the number of items, and for the items themselves.
func items(menu, properties, condition string) string {
	return fmt.Sprintf(
		`[:len [%s find where %s]] . " " . [:serialize to=json options=json.no-string-conversion value=[%s print detail as-value proplist=%s where %s]]`,
		menu, condition, menu, properties, condition)
}

// showAtMost adds a read of the items of a listing that match the condition, or of their mere number if there are more.
func (c *command) showAtMost(most int, what listing, condition string) {
	c.mayBeMany = what.marker
	c.add(what.marker, fmt.Sprintf(`:if ([:len [%s find where %s]] > %d) do={ :put ("%s-%s " . [:len [%s find where %s]]) } else={ :put ("%s-%s " . %s) }`,
		what.menu, condition, most, c.nonce, markerMany, what.menu, condition, c.nonce, what.marker, items(what.menu, what.properties, condition)))
}

// showState adds the read of the state of one volume: its disk by slot and by backing file, its pool, its backing file,
// the file's directory, and how long the appliance has been up. That state decides what an operation did.
func (c *command) showState(id VolumeID) {
	c.show(markerDisks, "/disk", diskProperties, fmt.Sprintf("slot=%s or %s", c.quoted(id.Slot()), c.refersTo(id.file())))
	// A pool that isn't mounted has no mount point, but a slot, which mostly is its name.
	c.show(markerPools, "/disk", poolProperties, fmt.Sprintf("mount-point=%s or slot=%s", c.quoted(id.Pool()), c.quoted(id.Pool())))
	c.show(markerFiles, "/file", fileProperties, fmt.Sprintf("name=%s or name=%s", c.quoted(id.file().inFile()), c.quoted(id.directory)))
	c.showUptime()
}

// showPools adds the read of all pools that are mounted.
func (c *command) showPools() {
	c.allPools = true
	c.show(markerPools, "/disk", poolProperties, "mounted=yes")
}

// showVersion adds the read of RouterOS's version.
func (c *command) showVersion() { c.put(markerVersion, "[/system resource get version]") }

// refersTo is the condition that a disk refers to a file, in either spelling: RouterOS shows the path with a leading slash,
// and nobody has said which one its find compares. A condition that never matches would let the file under a disk go.
func (c *command) refersTo(file filePath) string {
	return fmt.Sprintf("file-path=%s or file-path=%s", c.quoted(file.inDisk()), c.quoted(file.inFile()))
}

// carries is the condition that the disk in a slot still has a comment: it wasn't written to since that was seen.
func (c *command) carries(slot, comment string) string {
	return fmt.Sprintf("slot=%s comment=%s", c.quoted(slot), c.quoted(comment))
}

func (c *command) showUptime() { c.put(markerUptime, "[/system resource get uptime]") }

// put adds a read of one value, or of several in one statement.
func (c *command) put(marker, expression string) {
	c.add(marker, fmt.Sprintf(`:put ("%s-%s " . %s)`, c.nonce, marker, expression))
}

// maxLineLength is the longest line that is sent, in bytes. The longest are changes of a holder, in which the record stands
// four times and paths a dozen times. Nothing documents what RouterOS takes; the check of an appliance tries it.
const maxLineLength = 6144

// line returns the whole command. It is one line, since RouterOS takes no more over SSH. It ends with a marker: a reply
// without it was truncated.
func (c *command) line() (string, error) {
	if c.err != nil {
		return "", c.err
	}
	line := strings.Join(c.statements, "; ") + fmt.Sprintf(`; :put "%s-%s"`, c.nonce, markerEnd)
	if len(line) > maxLineLength {
		return "", &FieldError{Field: "command for the appliance", Value: line[:64] + "…", Want: fmt.Sprintf("at most %d bytes", maxLineLength)}
	}
	return line, nil
}
