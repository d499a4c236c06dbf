package script

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value is what an expression yields: nil (nothing), bool, int64, string,
// time.Duration, List, Record or Cleared.
type Value any

// List is an ordered array of values.
type List []Value

// Record is one item: property name to value.
type Record map[string]Value

// Cleared is the value of an argument given as !name.
type Cleared struct{}

// Format renders v the way :put and string expansion show it.
func Format(v Value) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case time.Duration:
		return formatTime(v)
	case List:
		parts := make([]string, 0, len(v))
		for _, item := range v {
			parts = append(parts, Format(item))
		}
		return strings.Join(parts, ";")
	case Record:
		return formatRecord(v)
	default:
		return fmt.Sprintf("(unknown %T)", v)
	}
}

// formatRecord writes the unquoted as-value form; ".id" sorts first by itself.
func formatRecord(r Record) string {
	parts := make([]string, 0, len(r))
	for _, key := range sortedKeys(r) {
		parts = append(parts, key+"="+Format(r[key]))
	}
	return strings.Join(parts, ";")
}

func sortedKeys(r Record) []string {
	keys := make([]string, 0, len(r))
	for key := range r {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// formatTime writes a duration as RouterOS does: 1w3d15:41:57.
func formatTime(d time.Duration) string {
	seconds := int64(d / time.Second)
	days := seconds / 86400
	var b strings.Builder
	if weeks := days / 7; weeks > 0 {
		fmt.Fprintf(&b, "%dw", weeks)
	}
	if rest := days % 7; rest > 0 {
		fmt.Fprintf(&b, "%dd", rest)
	}
	seconds %= 86400
	fmt.Fprintf(&b, "%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	return b.String()
}

// equal compares typed: the string "5" is not the number 5.
func equal(a, b Value) bool {
	switch a := a.(type) {
	case nil, bool, int64, string, time.Duration:
		switch b.(type) {
		case nil, bool, int64, string, time.Duration:
			return a == b
		default:
			return false
		}
	case List:
		other, ok := b.(List)
		return ok && slices.EqualFunc(a, other, equal)
	default:
		return false
	}
}

// length is what :len yields.
func length(v Value) int64 {
	switch v := v.(type) {
	case nil:
		return 0
	case List:
		return int64(len(v))
	case Record:
		return int64(len(v))
	default:
		return int64(len(Format(v)))
	}
}

// literal types an unquoted word that stands in an expression.
func literal(word string) Value {
	switch word {
	case "yes", "true":
		return true
	case "no", "false":
		return false
	}
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		return n
	}
	return word
}

// crlf ends each line of text the way the console does.
func crlf(text string) string {
	return strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"
}
