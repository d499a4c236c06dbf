package rds

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What may stand after a command's nonce in its reply.
const (
	markerDone   = "DONE"
	markerFailed = "ERR"
	markerDisks  = "DISKS"
	// markerMany stands in place of another one if there are more items than were asked for.
	markerMany    = "MANY"
	markerPools   = "POOLS"
	markerFiles   = "FILES"
	markerUptime  = "UPTIME"
	markerVersion = "VERSION"
	// markerPackage is of Probe only.
	markerPackage = "PACKAGE"
	// markerProbe and markerCount are of Checker only.
	markerProbe = "PROBE"
	markerCount = "COUNT"
	markerEnd   = "END"
)

// maxReply is how many bytes of a reply arrive. RouterOS drops what exceeds the window of an SSH channel when a command ends,
// which is 2 MiB with golang.org/x/crypto/ssh.
const maxReply = 2 << 20

// reply is the decoded answer to one command.
type reply struct {
	// refused is what RouterOS said to the statements that write, or nil if they ran to their end.
	refused error
	disks   []diskItem
	// many says that there are more items than were asked for, and that none is listed.
	many   bool
	pools  []poolItem
	files  []fileItem
	uptime time.Duration
	// version is RouterOS's. packages is of Probe only: how many packages rose-storage are enabled.
	version  string
	packages int
	// probes and counts are of Checker only.
	probes []probeItem
	counts []int
}

// readReply decodes the output of a command. It returns a *CommandError if the appliance is known to have run nothing that
// writes (a parse error or a missing permission), ErrTooLarge if it is so long that its end may be missing, and ErrIncomplete
// if the reply was cut short or can't be understood.
//
// Every marker that was asked for must be there exactly once, in order, and no other. A section that is missing would pass
// for an empty one.
//
// A marker counts wherever it stands in a line. RouterOS echoes critical logs into sessions, without a line end where they
// please. The nonce is random and is known to nobody else: what follows it was printed by this command.
func readReply(cmd *command, output string) (reply, error) {
	if len(output) >= maxReply {
		return reply{}, fmt.Errorf("%w: it has %d bytes", ErrTooLarge, len(output))
	}
	before, rest, found := strings.Cut(output, cmd.nonce+"-")
	if !found {
		if text, refused := refusal(before); refused {
			return reply{}, &CommandError{Text: text}
		}
		return reply{}, fmt.Errorf("%w: all it says is %.200q", ErrIncomplete, strings.TrimSpace(before))
	}
	var answer reply
	var markers []string
	for section := range strings.SplitSeq(rest, cmd.nonce+"-") {
		marker, text := cutMarker(section)
		if err := answer.take(marker, text); err != nil {
			return reply{}, fmt.Errorf("%w: %s: %w", ErrIncomplete, marker, err)
		}
		switch {
		case marker == markerFailed:
			marker = markerDone
		case marker == markerMany && cmd.mayBeMany != "":
			marker = cmd.mayBeMany
		}
		markers = append(markers, marker)
	}
	if want := append(slices.Clip(cmd.asked), markerEnd); !slices.Equal(markers, want) {
		return reply{}, fmt.Errorf("%w: it has %q, want %q", ErrIncomplete, markers, want)
	}
	return answer, nil
}

// refusal returns the line of a reply without any marker that says that nothing which writes was run. Notes and logs may
// stand before it. Everything else may be what is left of the reply to a command that ran.
//
// RouterOS parses a line as a whole before it runs any of it. Only a parse error names a column, at its very end, so that
// one which was cut isn't recognised. A missing policy ends the line as well. In a statement that writes it is caught and
// gets a marker, so that without one it was met in the first read, and nothing came before. All other runtime errors, such
// as "no such item" and "failure: …", tell nothing of what ran before them.
func refusal(output string) (text string, refused bool) {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if refusals.MatchString(line) {
			return line, true
		}
	}
	return "", false
}

var refusals = regexp.MustCompile(`(?i)^(expected |syntax error |bad command name |bad parameter ).*\(line [0-9]+ column [0-9]+\)$|` +
	`^(not enough permissions|(std failure: )?not allowed) \(9\)`)

// cutMarker returns the marker at the beginning of a section, and what follows it up to the next one.
func cutMarker(section string) (marker, text string) {
	end := strings.IndexFunc(section, func(r rune) bool { return r < 'A' || r > 'Z' })
	if end < 0 {
		return section, ""
	}
	return section[:end], strings.TrimPrefix(section[end:], " ")
}

func (r *reply) take(marker, text string) (err error) {
	switch marker {
	case markerFailed:
		r.refused = &CommandError{Text: firstLine(text)}
	case markerDisks:
		r.disks, err = decodeItems[diskItem](text)
	case markerMany:
		r.many = true
	case markerPools:
		r.pools, err = decodeItems[poolItem](text)
	case markerFiles:
		// Files are asked for by name. One whose name can't be read might be any of them.
		r.files, err = decodePlain[fileItem](text)
	case markerUptime:
		r.uptime, err = parseUptime(firstLine(text))
	case markerProbe:
		r.probes, err = decodePlain[probeItem](text)
	case markerCount:
		var count int
		count, err = strconv.Atoi(strings.TrimSpace(firstLine(text)))
		r.counts = append(r.counts, count)
	case markerVersion:
		r.version = strings.TrimSpace(firstLine(text))
	case markerPackage:
		r.packages, err = strconv.Atoi(strings.TrimSpace(firstLine(text)))
	}
	return err
}

// parseUptime reads RouterOS's time: 1w3d15:41:57, 3d15h41m57s, 41m or 57s, with every unit at most once.
func parseUptime(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'w': 7 * 24 * time.Hour, 'd': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	var total, number time.Duration
	digits := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9' && digits < 9:
			number, digits = number*10+time.Duration(c-'0'), digits+1
		case units[c] != 0 && digits > 0:
			total += number * units[c]
			delete(units, c)
			number, digits = 0, 0
		case c == ':' && digits > 0 && units['h'] != 0:
			clock, err := parseClock(text[i-digits:])
			return total + clock, err
		default:
			return 0, fmt.Errorf("%q is no uptime", text)
		}
	}
	if digits > 0 || text == "" {
		return 0, fmt.Errorf("%q is no uptime", text)
	}
	return total, nil
}

// parseClock reads hh:mm:ss.
func parseClock(text string) (time.Duration, error) {
	var hours, minutes, seconds uint16
	if n, err := fmt.Sscanf(text, "%d:%d:%d", &hours, &minutes, &seconds); err != nil || n != 3 || minutes > 59 || seconds > 59 {
		return 0, fmt.Errorf("%q is no time of the form hh:mm:ss", text)
	}
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second, nil
}
