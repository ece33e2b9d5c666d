package transform

import (
	"context"
	"pgregory.net/rapid"
	"testing"
	"time"
)

func TestZZ(t *testing.T) {
	n, c, okc, q, long := 0, 0, 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		src, data := anyTemplate(rt), anyJSON(rt, 3)
		n++
		p, err := templateEngine{}.compile(src, limits{output: 10000, timeout: 10 * time.Second})
		if err != nil {
			if n < 10 {
				t.Log(err, src)
			}
			return
		}
		c++
		if p.(*templateProgram).quick != nil {
			q++
		} else if n < 200 {
			t.Log("slow:", src)
		}
		out, err := p.newRun().eval(context.Background(), testEnv(data))
		if err == nil {
			okc++
			if len(out.text) > 0 {
				long++
			}
		}
	})
	t.Log(n, c, q, okc, long)
}
