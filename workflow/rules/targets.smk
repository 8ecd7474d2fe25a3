# Named targets beside `all`. Every file is a target by its path as well.


rule smoke:
    input:
        "reports/smoke/report.html",


rule quick:
    input:
        "reports/quick/report.html",


rule paper:
    input:
        "reports/paper/report.html",


rule datasets:
    input:
        datasets_asked,


rule runs:
    input:
        runs_asked,


rule tables:
    input:
        [f"reports/{SCALE}/tables/{name}.csv" for name in EXPERIMENTS[SCALE]],


rule figures:
    input:
        [f"reports/{SCALE}/figures/{name}.svg" for name in plan.figures_of(EXPERIMENTS[SCALE])],
