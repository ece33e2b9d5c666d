package transform

// What templates can call. Each function is there once, for both ways of running
// a template. text/template's own that make text are replaced: theirs make any
// amount of it.

import (
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"net/url"
	"reflect"
	"strings"
	"text/template"
)

// operand is a value in a template. One that is not there is no null.
type operand struct {
	v  any
	ok bool
}

// function is what templates call.
type function struct {
	// least and most are the numbers of operands; most -1 is any.
	least, most int
	call        func(r *templateRun, args []operand) (any, error)
	// lenient functions take what is missing.
	lenient bool
}

var errMissing = errors.New("there is no such value; default gives one to what may be missing")

// templateFuncs are the functions as text/template wants them.
func templateFuncs(r *templateRun) template.FuncMap {
	m := template.FuncMap{}
	for name, f := range templateCalls {
		m[name] = func(values ...reflect.Value) (any, error) {
			args := make([]operand, len(values))
			for i, v := range values {
				args[i] = operandOf(v)
			}
			return f.apply(r, args)
		}
	}
	return m
}

// operandOf is what text/template has.
func operandOf(v reflect.Value) operand {
	if !v.IsValid() {
		return operand{}
	}
	switch v.Kind() {
	case reflect.Int32: // a character
		return operand{int(v.Int()), true}
	case reflect.Interface:
		if v.IsNil() {
			return operand{nil, true}
		}
	}
	return operand{v.Interface(), true}
}

// apply calls f if it can be called with these operands.
func (f *function) apply(r *templateRun, args []operand) (any, error) {
	if len(args) < f.least || f.most >= 0 && len(args) > f.most {
		return nil, fmt.Errorf("it takes %s, and has %d", arity(f.least, f.most), len(args))
	}
	if !f.lenient {
		for _, a := range args {
			if !a.ok {
				return nil, errMissing
			}
		}
	}
	if err := r.meter.step(); err != nil {
		return nil, err
	}
	return f.call(r, args)
}

func arity(least, most int) string {
	switch {
	case most < 0:
		return fmt.Sprintf("%d or more values", least)
	case least == most:
		return fmt.Sprintf("%d values", least)
	}
	return fmt.Sprintf("%d to %d values", least, most)
}

// ofText makes a function of one of texts.
func onText(n int, f func(r *templateRun, s []string) (any, error)) function {
	return function{least: n, most: n, call: func(r *templateRun, args []operand) (any, error) {
		var few [4]string
		s := few[:n]
		for i, arg := range args {
			text, ok := arg.v.(string)
			if !ok {
				return nil, fmt.Errorf("value %d is %s; a string is wanted", i+1, a(arg.v))
			}
			s[i] = text
		}
		return f(r, s)
	}}
}

// grows is ofText of one text of which at most factor times as much becomes.
func grows(factor int, f func(s string) string) function {
	return onText(1, func(r *templateRun, s []string) (any, error) {
		if err := firstError(r.meter.take(factor*len(s[0])), r.meter.work(len(s[0])/2)); err != nil {
			return nil, err
		}
		return f(s[0]), nil
	})
}

// onTexts is grows of any values, as they print.
func onTexts(factor int, f func(s string) string) function {
	return function{least: 1, most: -1, call: func(r *templateRun, args []operand) (any, error) {
		text, err := joined(r, args, "")
		if err != nil {
			return nil, err
		}
		if err := firstError(r.meter.take(factor*len(text)), r.meter.work(len(text)*factor/4)); err != nil {
			return nil, err
		}
		return f(text), nil
	}}
}

var templateCalls = map[string]function{
	"json": {least: 1, most: 1, call: func(r *templateRun, args []operand) (any, error) {
		b, err := r.appendJSON(nil, args[0].v)
		if err == nil {
			err = r.meter.take(len(b))
		}
		return string(b), err
	}},
	"lower":  grows(2, strings.ToLower),
	"upper":  grows(2, strings.ToUpper),
	"trim":   grows(0, strings.TrimSpace),
	"sha256": grows(1, sha256Text),
	"b64enc": grows(2, func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
	"b64dec": onText(1, decodeBase64),
	"hash": onText(1, func(r *templateRun, s []string) (any, error) {
		if err := r.meter.work(len(s[0]) / 4); err != nil {
			return nil, err
		}
		return hashText(s[0]), nil
	}),
	"replace": onText(3, replaceText),
	"split":   onText(2, splitText),
	"join":    {least: 2, most: 2, call: joinList},
	"default": {least: 2, most: 2, lenient: true, call: func(_ *templateRun, args []operand) (any, error) {
		if v := args[1]; v.ok && v.v != nil && v.v != "" {
			return v.v, nil
		}
		return args[0].v, nil
	}},
	"kind":         {least: 1, most: 1, call: func(_ *templateRun, args []operand) (any, error) { return kindOf(args[0].v), nil }},
	"date":         {least: 2, most: 2, call: formatDate},
	"regexReplace": onText(3, regexReplace),

	"print": {least: 1, most: -1, call: func(r *templateRun, args []operand) (any, error) { return joined(r, args, "") }},
	"println": {least: 0, most: -1, call: func(r *templateRun, args []operand) (any, error) {
		return joined(r, append(args, operand{"\n", true}), " ")
	}},
	"printf":   {least: 1, most: -1, call: formatText},
	"html":     onTexts(6, html.EscapeString),
	"js":       onTexts(6, template.JSEscapeString),
	"urlquery": onTexts(3, url.QueryEscape),
	"len":      {least: 1, most: 1, call: itemsOf},
	"index":    {least: 1, most: -1, call: itemOf},
	"slice":    {least: 1, most: 3, call: sliceOf},
	"eq":       {least: 2, most: -1, lenient: true, call: equalToAny},
	"ne": {least: 2, most: 2, lenient: true, call: func(r *templateRun, args []operand) (any, error) {
		equal, err := equal(args[0].v, args[1].v)
		return !equal, err
	}},
	"lt":   ordered(func(order int) bool { return order < 0 }),
	"le":   ordered(func(order int) bool { return order <= 0 }),
	"gt":   ordered(func(order int) bool { return order > 0 }),
	"ge":   ordered(func(order int) bool { return order >= 0 }),
	"not":  {least: 1, most: 1, lenient: true, call: func(_ *templateRun, args []operand) (any, error) { return !truth(args[0]), nil }},
	"call": {least: 0, most: -1, call: func(*templateRun, []operand) (any, error) { return nil, errors.New("there is nothing to call") }},
}
