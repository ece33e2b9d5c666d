package transform

// TEMPLATE: new data by Go's text/template, which parses all templates and runs
// those that template_quick.go does not. What bounds a template is in
// template_tree.go, what it can call in template_funcs.go.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/template"
)

// templateName is what errors of text/template call a template; nobody sees it.
const templateName = "TEMPLATE"

type templateEngine struct{}

// compile implements engine.
func (templateEngine) compile(source string, l limits) (program, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the template has %d bytes; %d are the most", len(source), maxSource)
	}
	parsed, err := template.New(templateName).Funcs(templateFuncs(new(templateRun))).Parse(source)
	if err != nil {
		return nil, templateProblem(err)
	}
	p := &templateProgram{parsed: parsed, limits: l, wants: nothing(), patterns: templatePatterns{}}
	if err := p.prepare(); err != nil {
		return nil, err
	}
	return p, nil
}

// templateProgram is a template that makes data. Its trees are not written to after compile.
type templateProgram struct {
	parsed *template.Template
	limits limits
	// quick is the template as template_quick.go runs it; nil when text/template has to.
	quick *quickTemplate
	// names are what the template asks of the event.
	names []string
	// wants is what the template looks at of data.
	wants *wanted
	// patterns are those of regexReplace that are constant.
	patterns templatePatterns
}

func (p *templateProgram) want() *wanted { return p.wants }

// newRun implements program.
func (p *templateProgram) newRun() run {
	r := &templateRun{program: p, dot: map[string]any{}}
	r.out.meter = &r.meter
	own, err := p.parsed.Clone()
	if err != nil {
		return failedRun{err} // never: what is cloned has not run
	}
	r.template = own.Funcs(templateFuncs(r)).Funcs(templateInner(r))
	return r
}

// templateRun is a template with the memory of one worker.
type templateRun struct {
	program *templateProgram
	// template is the worker's own: its functions are bound to the run.
	template *template.Template
	meter    meter
	out      templateOutput
	env      *env
	// dot is what the template sees.
	dot map[string]any
	// vars and args are those of the templates and calls that run at the moment, for template_quick.go.
	vars, args []operand
}

// eval implements run.
func (r *templateRun) eval(_ context.Context, e *env) (output, error) {
	r.env = e
	r.meter.start(r.program.limits.timeout, e)
	r.out.start(r.program.limits.output)
	if err := r.show(); err != nil {
		return output{}, err
	}
	err := errSlow
	if q := r.program.quick; q != nil {
		err = q.run(r)
	}
	if errors.Is(err, errSlow) {
		r.out.start(r.program.limits.output)
		err = templateProblem(r.template.Execute(&r.out, r.dot))
	}
	clear(r.dot)
	r.vars, r.args = forgetOperands(r.vars), forgetOperands(r.args)
	if r.meter.spent != nil {
		err = r.meter.spent // whatever text/template made of it
	}
	if err != nil {
		return output{}, err
	}
	return output{text: r.out.text, isText: true}, nil
}

// forgetOperands lets go of the event's values.
func forgetOperands(all []operand) []operand {
	if cap(all) > maxSlab {
		return nil
	}
	clear(all[:cap(all)])
	return all[:0]
}

// show makes dot the event's.
func (r *templateRun) show() error {
	e := r.env
	for _, name := range r.program.names {
		switch name {
		case "data":
			data, err := e.data()
			if err != nil {
				return err
			}
			r.dot[name] = data
		case "metadata":
			r.dot[name] = e.metadata()
		case "time":
			r.dot[name] = e.time()
		case "now":
			r.dot[name] = e.now()
		default:
			r.dot[name] = stringBox.at(e.text(name))
		}
	}
	return nil
}

// templateProblem is an error of text/template without what is the same in all of them.
func templateProblem(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	short := strings.TrimPrefix(text, "template: "+templateName+":")
	if short == text {
		return err
	}
	short = inner.Replace(short)
	if errors.Is(err, errLimit) {
		return fmt.Errorf("%w: %s", errLimit, strings.ReplaceAll(short, errLimit.Error()+": ", ""))
	}
	return errors.New(short)
}

// inner takes out what only we have put into the trees.
var inner = strings.NewReplacer(`: executing "`+templateName+`" at `, ": ", "<"+printName+">: ", "", "<"+eachName+">: ", "",
	printName+" ", "", eachName+" ", "", "error calling "+printName+": ", "", "error calling "+eachName+": ", "")

// templateOutput is what a template writes.
type templateOutput struct {
	text  []byte
	limit int
	// depth is how many templates call each other at the moment.
	depth int
	meter *meter
}

func (o *templateOutput) start(limit int) {
	if cap(o.text) > maxKeptText {
		o.text = nil
	}
	o.text, o.limit, o.depth = o.text[:0], limit, 0
}

// fits says whether the text is within the limit.
func (o *templateOutput) fits() error {
	if len(o.text) > o.limit {
		o.meter.spent = fmt.Errorf("%w: the new data has more than the %d bytes that are allowed", errLimit, o.limit)
		return o.meter.spent
	}
	return nil
}

// Write implements io.Writer, for text/template. Each piece is a step; marks are only that.
func (o *templateOutput) Write(p []byte) (int, error) {
	if err := o.meter.step(); err != nil {
		return 0, err
	}
	if len(p) == 1 {
		switch &p[0] {
		case &markRound[0]:
			return 1, nil
		case &markCall[0]:
			return 1, o.enter()
		case &markReturn[0]:
			o.depth--
			return 1, nil
		}
	}
	o.text = append(o.text, p...)
	return len(p), o.fits()
}

// templateDepth is how many templates may call each other: 100,000, which text/template allows, take some 100 MB.
const templateDepth = 100

// enter begins a template that is called.
func (o *templateOutput) enter() error {
	if o.depth++; o.depth > templateDepth {
		o.meter.spent = fmt.Errorf("%w: templates that call each other nest deeper than %d levels", errLimit, templateDepth)
		return o.meter.spent
	}
	return nil
}
