package main

import (
	"strings"
	"testing"
)

func TestConvert(t *testing.T) {
	const events = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:1: wrong\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- FAIL: TestB (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:1: no tool\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"--- SKIP: TestC (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
{"Action":"build-output","ImportPath":"q","Output":"q.go:1: broken\n"}
{"Action":"output","Package":"r","Output":"PASS\n"}
{"Action":"output","Package":"r","Output":"ok  \tr\t0.1s\n"}
{"Action":"skip","Package":"s"}
a line of the go command
`
	const want = `    b_test.go:1: wrong
--- FAIL: TestB (0.00s)
FAIL
FAIL	p	0.1s
q.go:1: broken
ok  	r	0.1s
a line of the go command
SKIPPED p TestC: c_test.go:1: no tool
`
	var got strings.Builder
	skipped, err := convert(strings.NewReader(events), &got)
	if err != nil || skipped != 1 || got.String() != want {
		t.Errorf("convert = %d, %v\n%s\nwant\n%s", skipped, err, got.String(), want)
	}
}
