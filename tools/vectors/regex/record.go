// Answers of Go's regexp to lines of patterns and texts, for tests/vectors/regex-go.txt.
//
//	python3 tools/vectors/regex/inputs.py 1 3000 | go run tools/vectors/regex/record.go >tests/vectors/regex-go.txt
//
// Input: hex(pattern) SPACE hex(text). Output: the same, then TAB and either "error MESSAGE-IN-HEX" or the matches as
// "[from,to from,to ...]" with a pair for each group. Recorded with Debian's golang 1.19.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		fields := strings.SplitN(in.Text(), " ", 2)
		pattern, _ := hex.DecodeString(fields[0])
		text, _ := hex.DecodeString(fields[1])
		fmt.Fprintf(out, "%x %x\t", pattern, text)
		re, err := regexp.Compile(string(pattern))
		if err != nil {
			fmt.Fprintf(out, "error %x\n", err.Error())
			continue
		}
		for _, loc := range re.FindAllSubmatchIndex(text, -1) {
			fmt.Fprint(out, strings.ReplaceAll(fmt.Sprint(loc), " ", ","))
		}
		fmt.Fprintln(out)
	}
}
