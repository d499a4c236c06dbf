package rds

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What may stand after a command's nonce at the beginning of a line of its reply.
const (
	markerDone   = "DONE"
	markerFailed = "ERR"
	markerDisks  = "DISKS"
	markerPools  = "POOLS"
	markerFiles  = "FILES"
	markerUptime = "UPTIME"
	// markerSizes is of Capacity only.
	markerSizes = "SIZES"
	// markerVersion and markerPackage are of Probe only.
	markerVersion = "VERSION"
	markerPackage = "PACKAGE"
	// markerProbe is of Checker only.
	markerProbe = "PROBE"
	markerEnd   = "END"
)

// reply is the decoded answer to one command.
type reply struct {
	// refused is what RouterOS said to the statements that write, or nil if they ran to their end.
	refused error
	disks   []diskItem
	pools   []poolItem
	files   []fileItem
	uptime  time.Duration
	// sizes are of Capacity only.
	sizes []sizeItem
	// version and packages are of Probe only: RouterOS's version, and how many packages rose-storage are enabled.
	version  string
	packages int
	// probes are of Checker only.
	probes []probeItem
}

// readReply decodes the output of the command with this nonce. It returns a *CommandError if the appliance ran nothing
// at all (a parse error or a missing permission), and ErrIncomplete if the reply was cut short or can't be understood.
func readReply(nonce, output string) (reply, error) {
	var answer reply
	found := map[string]bool{}
	for line := range strings.Lines(output) {
		marked, ours := strings.CutPrefix(strings.TrimRight(line, "\r\n"), nonce+"-")
		if !ours {
			continue
		}
		marker, text, _ := strings.Cut(marked, " ")
		found[marker] = true
		if err := answer.take(marker, text); err != nil {
			return reply{}, fmt.Errorf("%w: %s: %w", ErrIncomplete, marker, err)
		}
	}
	switch {
	case len(found) == 0 && strings.TrimSpace(output) != "":
		return reply{}, &CommandError{Text: firstLine(output)}
	case !found[markerEnd]:
		return reply{}, fmt.Errorf("%w: the end marker is missing", ErrIncomplete)
	}
	return answer, nil
}

func (r *reply) take(marker, text string) (err error) {
	switch marker {
	case markerFailed:
		r.refused = &CommandError{Text: text}
	case markerDisks:
		r.disks, err = decodeItems[diskItem](text)
	case markerPools:
		r.pools, err = decodeItems[poolItem](text)
	case markerFiles:
		r.files, err = decodeItems[fileItem](text)
	case markerSizes:
		r.sizes, err = decodeItems[sizeItem](text)
	case markerUptime:
		r.uptime, err = parseUptime(text)
	case markerProbe:
		r.probes, err = decodeItems[probeItem](text)
	case markerVersion:
		r.version = strings.TrimSpace(text)
	case markerPackage:
		r.packages, err = strconv.Atoi(strings.TrimSpace(text))
	}
	return err
}

// decodeItems reads the output of :serialize for a print. An empty print was seen, or is plausible, as [], "" and nothing.
func decodeItems[T any](text string) ([]T, error) {
	if text == "" || text == `""` {
		return nil, nil
	}
	var items []T
	if err := json.Unmarshal([]byte(text), &items); err != nil {
		return nil, fmt.Errorf("not the JSON of a print: %w", err)
	}
	return items, nil
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

func firstLine(output string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(output), "\n")
	return strings.TrimSpace(line)
}
