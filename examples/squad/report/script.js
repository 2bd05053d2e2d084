// Answers side by side: filter, search, and the truth marked in its passage. The page's other parts need no script.
(function () {
  'use strict';
  var data = JSON.parse(document.getElementById('data').textContent);
  var list = document.getElementById('list'), count = document.getElementById('count');
  var search = document.getElementById('search'), filter = document.getElementById('filter');
  var order = document.getElementById('order'), next = document.getElementById('next');
  var PAGE = 20, MARGIN = 170;
  var found = [], shown = 0;

  function element(tag, name, text) {
    var e = document.createElement(tag);
    if (name) e.className = name;
    if (text !== undefined) e.textContent = text;
    return e;
  }

  // ---- which questions ----
  data.questions.forEach(function (q, i) {
    q.index = i;
    q.text = [q.question, q.id, data.passages[q.passage].title, data.passages[q.passage].text]
      .concat(q.truths.map(function (t) { return t[0]; }))
      .concat(q.answers.map(function (a) { return a.text; })).join('\n').toLowerCase();
    var f1 = q.answers.map(function (a) { return a.f1; });
    q.best = Math.max.apply(null, f1);
    q.spread = q.best - Math.min.apply(null, f1);
  });
  var filters = {
    all: function () { return true; },
    right: function (q) { return q.answers.every(function (a) { return a.exact; }); },
    wrong: function (q) { return q.best === 0; },
    split: function (q) { return q.answers.some(function (a) { return a.exact; }) && !filters.right(q); },
    none: function (q) { return q.truths.length === 0; },
    long: function (q) { return q.answers.some(function (a) { return a.stop !== 'end_of_turn'; }); }
  };
  data.models.forEach(function (model, m) {
    filters['only' + m] = function (q) {
      return q.answers.every(function (a, i) { return (i === m) === Boolean(a.exact); });
    };
    filters['not' + m] = function (q) {
      return q.answers.every(function (a, i) { return (i === m) !== Boolean(a.exact); });
    };
  });
  var orders = {
    asked: function (a, b) { return a.index - b.index; },
    spread: function (a, b) { return b.spread - a.spread || a.index - b.index; },
    worst: function (a, b) { return a.best - b.best || a.index - b.index; }
  };

  // ---- one question ----
  // Passages count their answers in code points, as Python does.
  function passage(q, whole) {
    var p = element('p', 'passage'), letters = Array.from(data.passages[q.passage].text);
    var marks = [];
    q.truths.forEach(function (t) {
      var length = Array.from(t[0]).length;
      if (letters.slice(t[1], t[1] + length).join('') === t[0]) marks.push([t[1], t[1] + length]);
    });
    marks.sort(function (a, b) { return a[0] - b[0] || b[1] - a[1]; });
    var from = 0, to = letters.length;
    if (!whole) {
      from = marks.length ? Math.max(0, marks[0][0] - MARGIN) : 0;
      to = Math.min(letters.length, (marks.length ? marks[0][1] : 0) + MARGIN);
      while (from > 0 && letters[from - 1] !== ' ') from--;
      while (to < letters.length && letters[to] !== ' ') to++;
    }
    if (from > 0) p.append('… ');
    var at = from;
    marks.forEach(function (m) {
      if (m[0] < at || m[1] > to) return;
      p.append(letters.slice(at, m[0]).join(''));
      p.append(element('mark', '', letters.slice(m[0], m[1]).join('')));
      at = m[1];
    });
    p.append(letters.slice(at, to).join(''));
    if (to < letters.length) p.append(' …');
    return { node: p, cut: from > 0 || to < letters.length };
  }

  function answer(a, m) {
    var box = element('div', 'answer');
    var who = element('div', 'who');
    var dot = element('i', 'dot');
    dot.style.background = 'var(--m' + (m % 8) + ')';
    who.append(dot, data.models[m]);
    box.append(who, element('div', a.text.trim() ? 'said' : 'said empty', a.text.trim() || 'an empty answer'));
    var chips = element('div', 'chips');
    chips.append(element('span', 'chip ' + (a.exact ? 'good' : a.f1 > 0 ? 'mid' : 'bad'),
      a.exact ? 'exact' : 'F1 ' + (100 * a.f1).toFixed(0) + '%'));
    a.ranks.forEach(function (rank, j) {
      if (rank === null) return; // this judge gave no ranking of the question
      chips.append(element('span', 'chip', 'rank ' + Number(rank.toFixed(2)) + (data.judges.length > 1 ? ' ' + data.judges[j] : '')));
    });
    chips.append(element('span', 'chip', a.words + (a.words === 1 ? ' word' : ' words') + (a.batch > 1 ? '' : ', ' + a.seconds.toFixed(2) + ' s')));
    if (a.stop !== 'end_of_turn') chips.append(element('span', 'chip mid', a.stop.replace(/_/g, ' ')));
    box.append(chips);
    return box;
  }

  function question(q) {
    var card = element('article', 'card qa');
    card.append(element('h3', '', q.question));
    var truths = q.truths.map(function (t) { return t[0]; }).filter(function (t, i, all) { return all.indexOf(t) === i; });
    card.append(element('p', 'meta', data.passages[q.passage].title.replace(/_/g, ' ') + ' · ' + q.id));
    var part = passage(q, false);
    card.append(part.node);
    if (part.cut) {
      var more = element('button', 'more', 'whole passage');
      more.onclick = function () {
        part.node.replaceWith(passage(q, true).node);
        more.remove();
      };
      card.append(more);
    }
    var truth = element('p', 'meta');
    truth.append(element('b', '', 'Truth: '), truths.length ? truths.join(' / ') : 'the passage does not say');
    card.append(truth);
    var answers = element('div', 'answers');
    q.answers.forEach(function (a, m) { answers.append(answer(a, m)); });
    card.append(answers);
    return card;
  }

  // ---- the list ----
  function page() {
    found.slice(shown, shown + PAGE).forEach(function (q) { list.append(question(q)); });
    shown = Math.min(found.length, shown + PAGE);
    next.hidden = shown >= found.length;
    count.textContent = found.length === data.questions.length
      ? data.questions.length + ' questions'
      : found.length + ' of ' + data.questions.length + ' questions';
  }
  function restart() {
    var words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = data.questions.filter(function (q) {
      return filters[filter.value](q) && words.every(function (w) { return q.text.indexOf(w) >= 0; });
    }).sort(orders[order.value]);
    list.replaceChildren();
    shown = 0;
    page();
  }
  search.oninput = restart;
  filter.onchange = restart;
  order.onchange = restart;
  next.onclick = page;
  restart();
}());
