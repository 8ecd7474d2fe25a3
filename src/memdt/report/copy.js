// Copies a table of the report as CSV, Markdown or LaTeX. The page says everything without it.
(() => {
  const text = (cell) => (cell.dataset.text ?? cell.textContent).replace(/\s+/g, " ").trim();
  const rows = (table) => [...table.querySelectorAll(":scope > thead > tr, :scope > tbody > tr")]
    .map((row) => [...row.children].map(text));
  const quoted = (value) => /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const escaped = (value) => value.replace(/[&%$#_{}]/g, "\\$&").replaceAll("±", "$\\pm$");
  const forms = {
    CSV: (table) => table.map((row) => row.map(quoted).join(",")).join("\n"),
    Markdown: ([head, ...body]) => [head, head.map(() => "---"), ...body]
      .map((row) => `| ${row.map((value) => value.replaceAll("|", "\\|")).join(" | ")} |`).join("\n"),
    LaTeX: ([head, ...body]) => [
      `\\begin{tabular}{l${"c".repeat(head.length - 1)}}`,
      ...[head, ...body].map((row) => `${row.map(escaped).join(" & ")} \\\\`),
      "\\end{tabular}",
    ].join("\n"),
  };
  const copy = async (value) => {
    try { await navigator.clipboard.writeText(value); } catch {
      const area = Object.assign(document.createElement("textarea"), { value });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  for (const table of document.querySelectorAll("table.paper")) {
    const bar = Object.assign(document.createElement("p"), { className: "copy small" });
    bar.append("copy as ");
    for (const [name, form] of Object.entries(forms)) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
      button.addEventListener("click", async () => {
        await copy(form(rows(table)));
        button.textContent = "copied";
        setTimeout(() => { button.textContent = name; }, 1500);
      });
      bar.append(button, " ");
    }
    table.parentElement.after(bar);
  }
  // The part of the page that is being read is marked in the contents.
  const links = new Map([...document.querySelectorAll(".contents a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "0px 0px -80% 0px" });
  for (const id of links.keys()) { const part = document.getElementById(id); if (part) seen.observe(part); }
})();
