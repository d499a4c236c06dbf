package rds

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// oddity is part of every item that is read. odd says which of the item's properties can't be understood, or is nil. Those
// that can are there all the same.
type oddity struct{ odd error }

func (o *oddity) mark(odd error) { o.odd = odd }

func (o *oddity) oddness() error { return o.odd }

// itemOf is a pointer to an item that can be decoded.
type itemOf[T any] interface {
	*T
	mark(odd error)
	oddness() error
}

// decodeItems reads the number of items, and the output of :serialize for a print of them. An empty print was seen, or is
// plausible, as [], "" and nothing. Items are read one by one: what somebody wrote to one disk mustn't hide all others.
//
// RouterOS may write a line end in a comment as it is. Such a list goes on in the next line. Whatever follows its closing
// bracket is none of it.
func decodeItems[T any, P itemOf[T]](text string) ([]T, error) {
	count, text, _ := strings.Cut(text, " ")
	want, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil {
		return nil, fmt.Errorf("no number of items: %w", err)
	}
	var rows []json.RawMessage
	if first := firstLine(text); first != "" && first != `""` {
		if err := json.NewDecoder(strings.NewReader(escapeControls(text))).Decode(&rows); err != nil {
			return nil, fmt.Errorf("not the JSON of a print: %w", err)
		}
	}
	if len(rows) != want {
		return nil, fmt.Errorf("it lists %d items of %d", len(rows), want)
	}
	items := make([]T, len(rows))
	for i, row := range rows {
		item := P(&items[i])
		item.mark(decodeItem(row, item))
	}
	return items, nil
}

// decodeItem reads what it can of an item, and returns what it can't.
func decodeItem(row json.RawMessage, item any) error {
	var properties map[string]json.RawMessage
	if err := json.Unmarshal(row, &properties); err != nil || properties == nil {
		return fmt.Errorf("it is no item but %.100s", row)
	}
	if json.Unmarshal(row, item) == nil {
		return nil
	}
	var odd []string
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		property, err := json.Marshal(map[string]json.RawMessage{name: properties[name]})
		if err != nil || json.Unmarshal(property, item) != nil {
			odd = append(odd, fmt.Sprintf("its %s is %.100s", name, properties[name]))
		}
	}
	return errors.New(strings.Join(odd, ", "))
}

// decodePlain reads items of which none may be odd.
func decodePlain[T any, P itemOf[T]](text string) ([]T, error) {
	items, err := decodeItems[T, P](text)
	for i := range items {
		if err := P(&items[i]).oddness(); err != nil {
			return nil, fmt.Errorf("an item can't be understood: %w", err)
		}
	}
	return items, err
}

// escapeControls writes control characters as JSON does in a string. Outside of one they are no JSON any more.
func escapeControls(text string) string {
	var escaped strings.Builder
	for i := range len(text) {
		if text[i] < ' ' {
			fmt.Fprintf(&escaped, `\u%04x`, text[i])
		} else {
			escaped.WriteByte(text[i])
		}
	}
	return escaped.String()
}

// firstLine returns the text up to its first line end.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimRight(line, "\r")
}
