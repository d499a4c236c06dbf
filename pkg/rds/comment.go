package rds

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// recordVersion begins every comment of this driver. A format that this code would misread must begin differently.
const recordVersion = "rds-csi/2"

// FieldVolume is the field of a FieldError that is about the name of a volume.
const FieldVolume = "volume"

// maxRecordLength is the longest comment that the driver writes, in bytes.
const maxRecordLength = 512

// The field len is the length of the whole comment in bytes, so that one that was cut shows it wherever it was cut.
const (
	lengthKey   = "len"
	lengthDigit = "%03d"
)

// padding is in front of the letters that fill a comment up to maxRecordLength.
const padding = " pad="

// errNotRecord is the cause of every ErrNotOurs that is about a comment.
var errNotRecord = errors.New("not a record of this driver")

// recordPrefix begins every comment of a cluster.
func recordPrefix(cluster string) string { return recordVersion + " cluster=" + cluster + " " }

// Encode returns the record as the disk's comment: the version, then key=value fields in a fixed order, separated by single
// spaces. It returns a *FieldError if a value has a character that a command mustn't contain, or if the whole is longer
// than 512 bytes even without the names of PV and PVC. Node IDs are never shortened.
func (r Record) Encode() (string, error) { return r.encode(0) }

// encodePadded returns the comment of a new disk. It has the greatest length that a record can have: an appliance that
// keeps less of a comment must show so before there is data.
func (r Record) encodePadded() (string, error) { return r.encode(maxRecordLength) }

// encode returns the comment, filled up to a length unless that is 0.
func (r Record) encode(length int) (string, error) {
	for _, field := range r.fields() {
		if !validRecordValue(field.value) {
			return "", &FieldError{Field: field.key, Value: field.value, Want: "letters, digits and . _ : / , - only"}
		}
	}
	for _, holder := range slices.Concat(r.Holding.Holders, r.Holding.Departed) {
		if holder == "" || strings.Contains(holder, ",") {
			return "", &FieldError{Field: "holders", Value: holder, Want: "a node ID without a comma"}
		}
	}
	longest := maxRecordLength
	if length > 0 {
		longest = length - len(padding)
	}
	for _, shortened := range []Record{r, {Cluster: r.Cluster, Volume: r.Volume, Generation: r.Generation, Token: r.Token, Holding: r.Holding}} {
		text := shortened.text(0)
		if len(text) > longest {
			continue
		}
		if length > 0 {
			return shortened.text(length) + padding + strings.Repeat("x", longest-len(text)), nil
		}
		return shortened.text(len(text)), nil
	}
	return "", &FieldError{Field: "holders", Value: strings.Join(r.Holding.Holders, ","), Want: fmt.Sprintf("node IDs so short that the record of volume %q fits into %d bytes", r.Volume, maxRecordLength)}
}

// ParseRecord reads a comment that Encode wrote. Anything else is an error, even a field out of order: a disk whose record
// can't be understood in full is never touched.
func ParseRecord(comment string) (Record, error) {
	fields, found := strings.CutPrefix(comment, recordVersion+" ")
	if !found {
		return Record{}, fmt.Errorf("%w: it doesn't begin with %q", errNotRecord, recordVersion)
	}
	if err := checkLength(comment); err != nil {
		return Record{}, fmt.Errorf("%w: %w", errNotRecord, err)
	}
	fields, _, padded := strings.Cut(fields, padding)
	length := 0
	if padded {
		length = maxRecordLength
	}
	var record Record
	for field := range strings.SplitSeq(fields, " ") {
		key, value, _ := strings.Cut(field, "=")
		if err := record.set(key, value); err != nil {
			return Record{}, fmt.Errorf("%w: field %q: %w", errNotRecord, field, err)
		}
	}
	if err := record.check(); err != nil {
		return Record{}, fmt.Errorf("%w: %w", errNotRecord, err)
	}
	if again, err := record.encode(length); err != nil || again != comment {
		return Record{}, fmt.Errorf("%w: its fields are not in the form this driver writes", errNotRecord)
	}
	return record, nil
}

// checkLength compares the length of a comment with the one that it claims, and says which bytes are missing.
func checkLength(comment string) error {
	_, rest, _ := strings.Cut(comment, " "+lengthKey+"=")
	claimed, _, _ := strings.Cut(rest, " ")
	want, err := strconv.Atoi(claimed)
	switch got := len(comment); {
	case err != nil || len(claimed) != len(fmt.Sprintf(lengthDigit, want)):
		return fmt.Errorf("it has %d bytes and doesn't say how many it should have", got)
	case got < want:
		return fmt.Errorf("it has %d bytes of %d: bytes %d to %d are missing", got, want, got+1, want)
	case got > want:
		return fmt.Errorf("it has %d bytes, %d more than it should", got, got-want)
	default:
		return nil
	}
}

type recordField struct{ key, value string }

// fields returns the fields in the order in which they're written. Those of the holding are there only with a holder. The
// length stands behind the cluster, which everything of a cluster is found by.
func (r Record) fields() []recordField {
	fields := []recordField{
		{"cluster", r.Cluster},
		{lengthKey, fmt.Sprintf(lengthDigit, 0)},
		{FieldVolume, r.Volume},
		{"gen", strconv.FormatUint(r.Generation, 10)},
		{"token", r.Token},
	}
	if r.Held() {
		fields = append(fields,
			recordField{"epoch", r.Holding.Epoch},
			recordField{"holders", strings.Join(r.Holding.Holders, ",")},
			recordField{"access", r.Holding.Access},
			recordField{"mode", r.Holding.Mode},
			recordField{"ro", strconv.FormatBool(r.Holding.ReadOnly)})
	}
	for _, optional := range []recordField{{"departed", strings.Join(r.Holding.Departed, ",")}, {"pv", r.PV}, {"pvc", r.PVC}} {
		if optional.value != "" {
			fields = append(fields, optional)
		}
	}
	return fields
}

// text returns the record as text that claims to have length bytes.
func (r Record) text(length int) string {
	var text strings.Builder
	text.WriteString(recordVersion)
	for _, field := range r.fields() {
		if field.key == lengthKey {
			field.value = fmt.Sprintf(lengthDigit, length)
		}
		text.WriteString(" " + field.key + "=" + field.value)
	}
	return text.String()
}

func (r *Record) set(key, value string) (err error) {
	switch key {
	case "cluster":
		r.Cluster = value
	case lengthKey:
		// ParseRecord has compared it already.
	case FieldVolume:
		r.Volume = value
	case "gen":
		r.Generation, err = strconv.ParseUint(value, 10, 64)
	case "token":
		r.Token = value
	case "epoch":
		r.Holding.Epoch = value
	case "holders":
		r.Holding.Holders = strings.Split(value, ",")
	case "access":
		r.Holding.Access = value
	case "mode":
		r.Holding.Mode = value
	case "ro":
		r.Holding.ReadOnly, err = strconv.ParseBool(value)
	case "departed":
		r.Holding.Departed = strings.Split(value, ",")
	case "pv":
		r.PV = value
	case "pvc":
		r.PVC = value
	default:
		err = errors.New("unknown")
	}
	return err
}

// check verifies what is true of every record that the driver writes.
func (r Record) check() error {
	switch {
	case r.Cluster == "" || r.Volume == "":
		return errors.New("no cluster or no volume")
	case r.Generation == 0:
		return errors.New("no generation")
	case !validToken(r.Token):
		return errors.New("no valid token")
	case r.Held() != (r.Holding.Epoch != ""):
		return errors.New("an epoch without holders, or holders without an epoch")
	case r.Held() && !validToken(r.Holding.Epoch):
		return errors.New("no valid epoch")
	case slices.Contains(r.Holding.Holders, "") || slices.Contains(r.Holding.Departed, ""):
		return errors.New("an empty node ID")
	}
	return nil
}

func validOrNone(text string) string {
	if validRecordValue(text) {
		return text
	}
	return ""
}

// validRecordValue allows what names, UUIDs, node IDs and lists of them need. It refuses spaces, which separate fields, and
// everything that has a meaning inside RouterOS's quotes.
func validRecordValue(text string) bool {
	for i := range len(text) {
		if !isAlphanumeric(text[i]) && !strings.ContainsRune("._:/,-", rune(text[i])) {
			return false
		}
	}
	return true
}
