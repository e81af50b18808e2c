use proptest::prelude::*;

use super::layout::Place;
use super::*;

/// A host as they are: name, group, what it depends on; scraped by prometheus; routed to by caddy.
const HOST: &[(&str, &str, &[&str], bool, bool)] = &[
    ("caddy", "ingress", &[], true, false),
    ("headscale", "ingress", &[], true, true),
    ("postgres", "data", &[], true, false),
    ("redis", "data", &[], false, false),
    ("minio", "data", &[], true, true),
    ("infisical", "apps", &["postgres", "redis"], false, true),
    ("vaultwarden", "apps", &["postgres"], false, true),
    (
        "hermes-api",
        "apps",
        &["postgres", "redis", "docker-proxy"],
        true,
        true,
    ),
    ("docker-proxy", "apps", &[], false, false),
    ("mastodon-web", "apps", &["postgres", "redis"], false, true),
    (
        "mastodon-sidekiq",
        "apps",
        &["postgres", "redis", "mastodon-web"],
        false,
        false,
    ),
    ("wiki", "apps", &["postgres"], false, true),
    ("n8n", "apps", &["postgres", "redis"], true, true),
    ("prometheus", "observability", &[], true, false),
    (
        "grafana",
        "observability",
        &["prometheus", "loki", "postgres"],
        true,
        true,
    ),
    ("loki", "observability", &["minio"], true, false),
    ("promtail", "observability", &["loki"], true, false),
    ("node-exporter", "observability", &[], true, false),
    ("cadvisor", "observability", &[], true, false),
    ("watchtower-notifier", "", &[], false, false),
    ("backup-runner", "", &[], false, false),
];

fn edge(from: &str, to: &str, label: &str, style: Style) -> Edge {
    Edge {
        from: from.into(),
        to: to.into(),
        label: label.into(),
        style,
    }
}

fn host() -> Graph {
    let mut graph = Graph {
        title: "mainframe: services, routes and what depends on what".into(),
        groups: ["ingress", "apps", "data", "observability"]
            .map(|id| Group {
                id: id.into(),
                label: id.into(),
            })
            .into(),
        meanings: vec![
            (Style::Solid, "depends on".into()),
            (Style::Dashed, "scrapes".into()),
            (Style::Thick, "route".into()),
        ],
        ..Graph::default()
    };
    for (name, group, needs, scraped, routed) in HOST {
        graph.nodes.push(Node {
            id: (*name).into(),
            label: format!("{name}\nforge.invalid/{name}"),
            group: (!group.is_empty()).then(|| (*group).into()),
        });
        for need in *needs {
            graph.edges.push(edge(name, need, "", Style::Solid));
        }
        if *scraped {
            graph
                .edges
                .push(edge("prometheus", name, "", Style::Dashed));
        }
        if *routed {
            let domain = format!("{}.example.org", name.split('-').next().unwrap_or(name));
            graph.edges.push(edge("caddy", name, &domain, Style::Thick));
        }
    }
    graph
}

fn laid_out(graph: &Graph) -> Layout {
    arrange(graph).1
}

/// Whether two areas share more than an edge.
fn meet(a: &Place, b: &Place) -> bool {
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}

fn nothing_covers_anything(graph: &Graph) {
    let layout = laid_out(graph);
    let labels: Vec<Place> = layout
        .labels
        .iter()
        .map(|label| {
            let width = width(&label.text, 11);
            Place {
                x: label.x - width,
                y: label.y - 9,
                width,
                height: 11,
            }
        })
        .collect();
    let all: Vec<&Place> = layout.boxes.iter().chain(&labels).collect();
    for (index, a) in all.iter().enumerate() {
        assert!(a.x >= 0 && a.y >= 0, "{a:?}");
        assert!(a.x + a.width <= layout.width && a.y + a.height <= layout.height);
        for b in &all[..index] {
            assert!(!meet(a, b), "{a:?} and {b:?}");
        }
    }
    for segment in &layout.segments {
        assert!(segment.from_x < segment.lane_x && segment.lane_x < segment.to_x);
        let (high, low) = (
            segment.from_y.min(segment.to_y),
            segment.from_y.max(segment.to_y),
        );
        let bend = Place {
            x: segment.from_x,
            y: high,
            width: segment.lane_x - segment.from_x,
            height: low - high + 1,
        };
        let straight = Place {
            x: segment.lane_x,
            y: segment.to_y,
            width: segment.to_x - segment.lane_x,
            height: 1,
        };
        for other in &layout.boxes {
            assert!(!meet(&bend, other), "{segment:?} behind {other:?}");
            assert!(!meet(&straight, other), "{segment:?} behind {other:?}");
        }
        for label in &labels {
            assert!(!meet(&bend, label), "{segment:?} through {label:?}");
        }
    }
}

#[test]
fn a_host_is_drawn_with_nothing_covered() {
    let mut graph = host();
    nothing_covers_anything(&graph);
    graph.edges.retain(|edge| edge.style != Style::Dashed);
    nothing_covers_anything(&graph);
    let layout = laid_out(&graph);
    assert!(
        layout.width < 1500 && layout.height < 900,
        "{} x {}",
        layout.width,
        layout.height
    );
}

#[test]
fn the_order_of_what_comes_does_not_matter() {
    let forth = host();
    let mut back = host();
    back.nodes.reverse();
    back.edges.reverse();
    assert_eq!(svg(&forth), svg(&back));
    assert_eq!(mermaid(&forth), mermaid(&back));
}

#[test]
fn what_is_odd_is_drawn_too() {
    assert!(svg(&Graph::default()).ends_with("</svg>\n"));
    let mut graph = host();
    let before = svg(&graph);
    let copies = graph.edges.clone();
    graph.edges.extend(copies);
    graph.edges.push(edge("nobody", "caddy", "", Style::Solid));
    graph.edges.push(edge("caddy", "nobody", "", Style::Solid));
    graph.edges.push(edge("caddy", "caddy", "", Style::Solid));
    assert_eq!(before, svg(&graph));
    // A ring, there and back.
    for (from, to) in [
        ("caddy", "redis"),
        ("redis", "caddy"),
        ("redis", "wiki"),
        ("wiki", "caddy"),
    ] {
        graph.edges.push(edge(from, to, "ring", Style::Solid));
    }
    nothing_covers_anything(&graph);
}

#[test]
fn an_arrow_points_where_it_should_in_a_ring() {
    let node = |id: &str| Node {
        id: id.into(),
        label: id.into(),
        group: None,
    };
    let graph = Graph {
        nodes: vec![node("a"), node("b")],
        edges: vec![
            edge("a", "b", "", Style::Solid),
            edge("b", "a", "", Style::Thick),
        ],
        ..Graph::default()
    };
    let heads: Vec<_> = laid_out(&graph)
        .segments
        .iter()
        .map(|segment| (segment.style, segment.head_at_start, segment.head_at_end))
        .collect();
    assert_eq!(
        heads,
        [(Style::Solid, false, true), (Style::Thick, true, false)]
    );
}

const HOSTILE: &str = "</text><script>alert(1)</script> & \"q\" ]]> \u{0}\u{1b} `x` %%{init}%% #35; end\n[a] (b) {c} | ;";

fn hostile() -> Graph {
    Graph {
        title: HOSTILE.into(),
        nodes: vec![
            Node {
                id: "end".into(),
                label: HOSTILE.into(),
                group: Some("g".into()),
            },
            Node {
                id: HOSTILE.into(),
                label: String::new(),
                group: Some("gone".into()),
            },
        ],
        edges: vec![edge("end", HOSTILE, HOSTILE, Style::Dashed)],
        groups: vec![Group {
            id: "g".into(),
            label: HOSTILE.into(),
        }],
        meanings: vec![(Style::Dashed, HOSTILE.into())],
    }
}

#[test]
fn text_is_never_markup() {
    let mut graph = hostile();
    graph.title.push('\u{ffff}');
    let picture = svg(&graph);
    assert!(!picture.contains("<script") && !picture.contains("]]>"));
    assert!(
        !picture
            .chars()
            .any(|c| c.is_control() && c != '\n' || c == '\u{ffff}')
    );
    let bare = picture.split('&').skip(1).find(|rest| {
        !["amp;", "lt;", "gt;", "quot;", "#10;"]
            .iter()
            .any(|entity| rest.starts_with(entity))
    });
    assert_eq!(bare, None);
    nothing_covers_anything(&hostile());
}

#[test]
fn mermaid_text_is_never_syntax() {
    let escaped = "#60;/text#62;#60;script#62;alert(1)#60;/script#62; #38; #34;q#34; ]]#62;    #96;x#96; #37;#37;#123;init#125;#37;#37; #35;35#59; end<br/>[a] (b) #123;c#125; #124; #59;";
    let expected = format!(
        "%% </text><script>alert(1)</script> & \"q\" ]]>    `x`    init    #35; end [a] (b)  c  | ;
flowchart LR
  subgraph g0[\"{escaped}\"]
    n1[\"{escaped}\"]
  end
  n0[\" \"]
  n1 -.->|\"{escaped}\"| n0
"
    );
    assert_eq!(mermaid(&hostile()), expected);
}

#[test]
fn a_thousand_boxes() {
    let mut graph = Graph::default();
    for index in 0..1000_usize {
        graph.nodes.push(Node {
            id: format!("n{index:04}"),
            label: format!("service {index}"),
            group: None,
        });
        for back in [1, 7, 40] {
            if index % 10 >= back % 10 && index >= back {
                graph.edges.push(edge(
                    &format!("n{index:04}"),
                    &format!("n{:04}", (index - back) / 9),
                    "",
                    Style::Solid,
                ));
            }
        }
    }
    assert!(svg(&graph).contains("service 999"));
}

fn any_graph() -> impl Strategy<Value = Graph> {
    let edges = prop::collection::vec((0..14_usize, 0..14_usize, 0..3_usize, 0..3_usize), 0..40);
    edges.prop_map(|edges| {
        let mut graph = Graph {
            groups: vec![Group {
                id: "a".into(),
                label: "a".into(),
            }],
            ..Graph::default()
        };
        for index in 0..14 {
            graph.nodes.push(Node {
                id: format!("n{index:02}"),
                label: "word ".repeat(index % 5) + &"\nline".repeat(index % 3),
                group: (index % 2 == 0).then(|| "a".to_owned()),
            });
        }
        for (from, to, label, style) in edges {
            let label = ["", "label", "a longer label"][label];
            graph.edges.push(edge(
                &format!("n{from:02}"),
                &format!("n{to:02}"),
                label,
                Style::ALL[style],
            ));
        }
        graph
    })
}

proptest! {
    #[test]
    fn nothing_is_covered_in_any_graph(graph in any_graph()) {
        nothing_covers_anything(&graph);
    }
}
